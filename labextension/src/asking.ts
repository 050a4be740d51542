/**
 * The state of a request to the server, for the views.
 */
import { ISignal, Signal } from '@lumino/signaling';

import { LakeError } from './api';

/** A wait shorter than this is not shown. */
export const LOADING_MS = 300;

/** A wait longer than this is called slow. */
export const SLOW_MS = 5000;

/**
 * - `idle`: no request.
 * - `asking`: just sent.
 * - `loading`: takes a while, so the views say so.
 * - `slow`: takes long, so the views offer to cancel.
 * - `cancelled`: by the user.
 */
export type Phase = 'idle' | 'asking' | 'loading' | 'slow' | 'done' | 'failed' | 'cancelled';

/**
 * A request that is sent repeatedly; a new one replaces the old one.
 */
export class Asking {
  phase: Phase = 'idle';
  error: LakeError | null = null;

  /** Emitted when the phase or the error changes. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether it is waiting for an answer. */
  get isOpen(): boolean {
    return ['asking', 'loading', 'slow'].includes(this.phase);
  }

  /**
   * Send a request and abort the previous one.
   *
   * @param question - Sends the request and handles the answer. It must do nothing after its signal is aborted.
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

  /** Stop waiting because the user asked to. */
  cancel(): void {
    if (this.isOpen) {
      this.stop();
      this._set('cancelled');
    }
  }

  /** Stop waiting, and return to `idle`. */
  reset(): void {
    this.stop();
    this._set('idle');
  }

  /** Stop waiting, without a change of phase. */
  stop(): void {
    this._controller?.abort();
    this._controller = null;
    this._timers.forEach(timer => window.clearTimeout(timer));
  }

  private _end(signal: AbortSignal, phase: Phase, error?: unknown): void {
    if (signal.aborted) {
      return; // another request replaced it
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
