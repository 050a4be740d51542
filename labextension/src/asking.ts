/**
 * One question to the server, as the views see it.
 */
import { ISignal, Signal } from '@lumino/signaling';

import { LakeError } from './api';

/** A wait shorter than this is not shown. */
export const LOADING_MS = 300;

/** A wait longer than this is called slow. */
export const SLOW_MS = 5000;

/**
 * - `idle`: nothing was asked.
 * - `asking`: asked just now.
 * - `loading`: asked a while ago: say so.
 * - `slow`: asked long ago: offer to give up.
 * - `cancelled`: the user gave up.
 */
export type Phase = 'idle' | 'asking' | 'loading' | 'slow' | 'done' | 'failed' | 'cancelled';

/**
 * A question that is asked again and again: a new one drops the old one.
 */
export class Asking {
  phase: Phase = 'idle';
  error: LakeError | null = null;

  /** Emitted when phase or error change. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether an answer is awaited. */
  get isOpen(): boolean {
    return ['asking', 'loading', 'slow'].includes(this.phase);
  }

  /**
   * Ask; what was asked before is aborted.
   *
   * @param question - Asks, and takes the answer. It is not to do anything once its signal is aborted.
   */
  async ask(question: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.stop();
    const { signal } = (this._controller = new AbortController());
    this._set('asking');
    this._timers = [
      window.setTimeout(() => this._set('loading'), LOADING_MS),
      window.setTimeout(() => this._set('slow'), SLOW_MS)
    ];
    try {
      await question(signal);
      this._end(signal, 'done');
    } catch (error) {
      this._end(signal, 'failed', error);
    }
  }

  /** Stop waiting, on the user's behalf. */
  cancel(): void {
    if (this.isOpen) {
      this.stop();
      this._set('cancelled');
    }
  }

  /** Forget the question. */
  reset(): void {
    this.stop();
    this._set('idle');
  }

  /** Stop waiting, without a word. */
  stop(): void {
    this._controller?.abort();
    this._controller = null;
    this._timers.forEach(timer => window.clearTimeout(timer));
  }

  private _end(signal: AbortSignal, phase: Phase, error?: unknown): void {
    if (signal.aborted) {
      return; // another question took its place
    }
    this.stop();
    this._set(phase, error === undefined ? null : LakeError.of(error));
  }

  private _set(phase: Phase, error: LakeError | null = null): void {
    this.phase = phase;
    this.error = error;
    this._changed.emit();
  }

  private _controller: AbortController | null = null;
  private _timers: number[] = [];
  private _changed = new Signal<this, void>(this);
}
