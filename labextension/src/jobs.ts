/**
 * The downloads, from one stream of the server.
 */
import { ISignal, Signal } from '@lumino/signaling';

import { Api, IForgotten, IJob, LakeError } from './api';
import { Asking } from './asking';

/** Waits between two attempts to follow; each is twice as long as the previous one. */
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

/** The server sends a heartbeat every 15 s. */
const SILENCE_MS = 45_000;

/**
 * All downloads, updated while the stream is followed.
 */
export class JobsModel {
  /** The user's last action: start, cancel or retry. */
  readonly acting = new Asking();
  /** The DID or the job id of that action. */
  actor = '';
  /** Why the stream broke; null while it works. */
  lost: LakeError | null = null;

  constructor(private readonly api: Api) {
    this.acting.changed.connect(() => this._changed.emit());
  }

  /** Emitted when anything changes. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** All jobs, newest first. */
  get all(): IJob[] {
    return [...this._jobs.values()].sort((a, b) => b.created - a.created);
  }

  /** Number of jobs that have not ended. */
  get active(): number {
    return this.all.filter(job => job.active).length;
  }

  /** Start to follow the stream, unless it is followed already. */
  follow(): void {
    if (!this._controller) {
      const controller = (this._controller = new AbortController());
      void this._follow(controller.signal);
    }
  }

  /** Stop following. */
  leave(): void {
    this._controller?.abort();
    this._controller = null;
  }

  dispose(): void {
    this.leave();
    this.acting.stop();
    Signal.clearData(this);
  }

  /** Download a DID. */
  async start(instance: string, did: string): Promise<void> {
    await this._act(did, () => this.api.download(instance, did));
  }

  /** Cancel a job, or remove one that has ended. */
  async end(id: string): Promise<void> {
    await this._act(id, () => this.api.endJob(id));
  }

  /** Start a job again that has ended. */
  async retry(id: string): Promise<void> {
    await this._act(id, () => this.api.retryJob(id));
  }

  log(id: string): Promise<string> {
    return this.api.jobLog(id);
  }

  private async _act(actor: string, work: () => Promise<IJob | IForgotten>): Promise<void> {
    if (this.acting.isOpen && this.actor === actor) {
      return; // a double click
    }
    this.actor = actor;
    await this.acting.ask(async () => {
      const answer = await work();
      if (!this._isOld(answer)) {
        this._take([answer]);
      }
    });
  }

  /** Whether the stream has already sent a newer state than this answer. */
  private _isOld(answer: IJob | IForgotten): boolean {
    const known = this._jobs.get(answer.id);
    return !!known && 'updated' in answer && known.updated > answer.updated;
  }

  private async _follow(signal: AbortSignal): Promise<void> {
    let wait = FIRST_WAIT_MS;
    while (!signal.aborted) {
      try {
        await this._read(signal, () => (wait = FIRST_WAIT_MS));
      } catch (error) {
        if (!signal.aborted) {
          this.lost = LakeError.of(error);
          this._changed.emit();
        }
      }
      await pause(wait, signal);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }

  /** Read the stream until it breaks. */
  private async _read(signal: AbortSignal, isLive: () => void): Promise<void> {
    const silence = new AbortController();
    const stop = () => silence.abort();
    signal.addEventListener('abort', stop);
    let timer = window.setTimeout(stop, SILENCE_MS);
    let isFirst = true;
    try {
      for await (const news of this.api.follow(silence.signal)) {
        window.clearTimeout(timer);
        timer = window.setTimeout(stop, SILENCE_MS);
        if (signal.aborted) {
          return;
        }
        if (isFirst) {
          this._jobs.clear(); // some may have been removed meanwhile
          isFirst = false;
        }
        isLive();
        this.lost = null;
        this._take(news);
      }
    } finally {
      window.clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  private _take(news: (IJob | IForgotten)[]): void {
    for (const job of news) {
      if (job.state === 'forgotten') {
        this._jobs.delete(job.id);
      } else {
        this._jobs.set(job.id, job);
      }
    }
    this._changed.emit();
  }

  private _jobs = new Map<string, IJob>();
  private _controller: AbortController | null = null;
  private _changed = new Signal<this, void>(this);
}

/** Wait for a time, or until a signal. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = window.setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      resolve();
    });
  });
}
