/**
 * The way from a DID to a cell in a notebook, with what is said on it.
 */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification, showErrorMessage } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';

import { IDid, LakeError } from './api';
import { MOST_INLINE, isWritable } from './code';
import { askName } from './components/attachform';
import { LakeModel } from './model';
import { proposeName } from './names';
import { AttachRefused, Outcome, Refusal, Target, currentNotebook } from './notebook';
import { IWords, wordsOf } from './words';

const PATIENCE_MS = 700;

/**
 * Attaches DIDs, one at a time.
 */
export class Attacher {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly tracker: INotebookTracker,
    private readonly model: LakeModel,
    private readonly trans: TranslationBundle
  ) {}

  /** Attach a DID; what stands in the way is told to the user. */
  async attach(did: IDid): Promise<void> {
    if (this._isBusy) {
      return;
    }
    this._isBusy = true;
    try {
      await this._attach(did);
    } catch (error) {
      const { message, remedy } = this._wordsOf(error);
      void showErrorMessage(
        this.trans.__('Nothing was attached'),
        [message, remedy].filter(Boolean).join('\n\n')
      );
    } finally {
      this._isBusy = false;
    }
  }

  private async _attach(did: IDid): Promise<void> {
    const { model, trans } = this;
    const instance = model.query.instance;
    if (!isWritable(did.did)) {
      const message = trans.__('The name has a line break or another control character.');
      throw new LakeError('bad_request', message, trans.__('Attach what contains it.'));
    }
    const target = await this._waiting(this._target());
    const name = await askName(
      {
        did: did.did,
        proposed: proposeName(did.name, target.taken),
        taken: target.taken,
        note: this._noteOn(target)
      },
      trans
    );
    if (name !== null) {
      const isDefaultInstance = model.known?.default === instance;
      const attachment = { did: did.did, name, instance, isDefaultInstance };
      await target.attach(attachment, model.api, outcome => this._tell(outcome, name));
    }
  }

  private async _target(): Promise<Target> {
    return Target.of(await currentNotebook(this.app, this.tracker));
  }

  /** Say what is waited for, where it takes long. */
  private async _waiting<T>(work: Promise<T>): Promise<T> {
    let shown = '';
    const timer = window.setTimeout(() => {
      const message = this.trans.__('Waiting for the kernel of the notebook…');
      shown = Notification.emit(message, 'in-progress', { autoClose: false });
    }, PATIENCE_MS);
    try {
      return await work;
    } finally {
      window.clearTimeout(timer);
      if (shown) {
        Notification.dismiss(shown);
      }
    }
  }

  private _noteOn(target: Target): string {
    const { trans } = this;
    const title = target.panel.title.label;
    if (!target.hasKernel) {
      return trans.__('%1 has no kernel: the cell is written, not run.', title);
    }
    if (target.isBusy) {
      return trans.__('The kernel of %1 is busy: the cell runs when it is free.', title);
    }
    if (target.lacksPackage) {
      return trans.__(
        'The kernel of %1 lacks rucio_lab: the addresses are written as plain Python.',
        title
      );
    }
    return trans.__('A cell is written below the active one of %1, and run.', title);
  }

  private _tell(outcome: Outcome, name: string): void {
    const { trans } = this;
    const words: Record<Outcome, string> = {
      dropped: trans.__(
        'The cell for %1 was not run, since one before it failed. Run it again.',
        name
      ),
      inline: trans.__(
        'The kernel lacks rucio_lab: %1 is a plain list, good while the addresses are.',
        name
      ),
      'no kernel': trans.__('The cell for %1 was written. Choose a kernel and run it.', name),
      queued: trans.__('The kernel is busy: the cell for %1 runs when it is free.', name)
    };
    Notification.emit(words[outcome], outcome === 'dropped' ? 'warning' : 'info', {
      autoClose: 8000
    });
  }

  private _wordsOf(error: unknown): IWords {
    if (error instanceof AttachRefused) {
      return this._refusals()[error.reason];
    }
    const known = error instanceof LakeError ? error : new LakeError('error', String(error));
    return wordsOf(known, this.trans);
  }

  private _refusals(): Record<Refusal, IWords> {
    const { trans } = this;
    return {
      closed: {
        message: trans.__('The notebook was closed before the cell could be written.'),
        remedy: trans.__('Open a notebook and attach again.')
      },
      'no notebook': {
        message: trans.__('A new notebook was opened elsewhere.'),
        remedy: trans.__('Attach again from there.')
      },
      'no python': {
        message: trans.__('The kernel of the notebook does not speak Python.'),
        remedy: trans.__('Go to a notebook with a Python kernel and attach again.')
      },
      'read-only': {
        message: trans.__('The notebook cannot be written.'),
        remedy: trans.__('Go to another notebook, or make a copy of this one, and attach again.')
      },
      'too many': {
        message: trans.__(
          'The kernel lacks rucio_lab, and this has more than %1 files.',
          MOST_INLINE
        ),
        remedy: trans.__(
          'Run "%pip install rucio-lab" in the notebook, restart its kernel and attach again; or attach a smaller dataset.'
        )
      }
    };
  }

  private _isBusy = false;
}
