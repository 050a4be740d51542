/**
 * The way from a DID to a cell in a notebook, with what is said on it.
 */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification, showErrorMessage } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';

import { Access, IDid, IListing, LakeError } from './api';
import { MOST_INLINE, attachLine, inlineCode, isWritable, withoutOurs } from './code';
import { askHow } from './components/attachform';
import { confirmGaps } from './components/gaps';
import { LakeModel } from './model';
import { proposeName } from './names';
import { AttachRefused, Outcome, Refusal, Target, currentNotebook } from './notebook';
import { printable } from './text';
import { waitFor } from './waiting';
import { IWords, numberText, wordsOf } from './words';

/** What is to be attached. */
interface IWanted {
  did: string;
  /** Its name, without its scope. */
  name: string;
  instance: string;
  /** How files are attached where nothing else is said; null for what was downloaded. */
  access: Access | null;
}

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
  async attach({ did, name }: IDid): Promise<void> {
    const { instance } = this.model;
    await this._tryTo({ did, name, instance: instance!.name, access: instance!.access });
  }

  /** Attach what was downloaded. */
  async attachDownload(did: string, instance: string): Promise<void> {
    const name = did.slice(did.indexOf(':') + 1);
    await this._tryTo({ did, name, instance, access: null });
  }

  private async _tryTo(wanted: IWanted): Promise<void> {
    if (this._isBusy) {
      return;
    }
    this._isBusy = true;
    try {
      await this._attach(wanted);
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

  private async _attach(wanted: IWanted): Promise<void> {
    const { trans } = this;
    const { did, name: itsName, access } = wanted;
    const line = this._line(wanted);
    const target = await waitFor(
      this._target(),
      trans.__('Waiting for the kernel of the notebook…'),
      trans
    );
    const answer = await askHow(
      {
        did,
        proposed: proposeName(itsName, target.taken),
        taken: target.taken,
        notes: this._notesOn(target, did),
        access: target.lacksPackage ? null : access
      },
      trans
    );
    if (answer === null) {
      return;
    }
    const { name } = answer;
    const code = target.lacksPackage
      ? await this._inlineCode(did, name)
      : line(name, access ? answer.access : 'download');
    if (code !== null) {
      target.write(code, outcome => this._tell(outcome, name));
    }
  }

  /** Give what writes the line that attaches a DID to a variable. */
  private _line({ did, instance }: IWanted): (name: string, access: Access | null) => string {
    const { trans, model } = this;
    if (!isWritable(did)) {
      const message = trans.__('A cell cannot hold the name %1.', printable(did));
      throw new LakeError('unwritable', message, trans.__('Attach what contains it.'));
    }
    const where = model.known?.default === instance ? null : instance;
    return (name, access) => attachLine(did, name, where, access);
  }

  private async _target(): Promise<Target> {
    return Target.of(await currentNotebook(this.app, this.tracker));
  }

  /** Write the addresses, for a kernel that cannot ask for them; null if the user thought better of it. */
  private async _inlineCode(did: string, name: string): Promise<string | null> {
    const { model, trans } = this;
    const controller = new AbortController();
    let listing: IListing;
    try {
      listing = await waitFor(
        model.resolve(did, MOST_INLINE, controller.signal, 'auto'),
        trans.__('Asking for the addresses of %1…', printable(did)),
        trans,
        controller
      );
    } catch (error) {
      if (controller.signal.aborted) {
        return null;
      }
      throw error;
    }
    if (listing.total > MOST_INLINE) {
      throw new TooMany(listing.total);
    }
    listing = withoutOurs(
      listing,
      trans.__('it is read through rucio_lab, which the kernel lacks')
    );
    if (!listing.files.length) {
      const message = trans.__('The kernel lacks rucio_lab, through which this is read.');
      throw new LakeError('lacking', message, this._howToInstall());
    }
    const isWanted = await confirmGaps(did, listing, trans);
    return isWanted ? inlineCode(name, listing) : null;
  }

  private _notesOn(target: Target, did: string): string[] {
    const { trans } = this;
    const notes = [this._wayInto(target)];
    const names = target.namesOf(did);
    if (names.length) {
      notes.push(trans.__('This notebook attaches it already, as %1.', names.join(', ')));
    }
    if (!target.canSave) {
      notes.push(trans.__('This notebook cannot be saved: keep a copy of it to keep the cell.'));
    }
    return notes;
  }

  private _wayInto(target: Target): string {
    const { trans } = this;
    const title = printable(target.panel.title.label);
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
    const { trans } = this;
    if (error instanceof TooMany) {
      return {
        message: trans.__(
          'The kernel lacks rucio_lab, and this has %1 files: more than the %2 that are written out.',
          numberText(error.count),
          MOST_INLINE
        ),
        remedy: trans.__('%1 Or attach a smaller dataset.', this._howToInstall())
      };
    }
    if (error instanceof AttachRefused) {
      return this._refusals()[error.reason];
    }
    return wordsOf(LakeError.of(error), trans);
  }

  private _howToInstall(): string {
    return this.trans.__(
      'Run "%pip install rucio-lab" in the notebook, restart its kernel and attach again.'
    );
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
      }
    };
  }

  private _isBusy = false;
}

/** There are more files than a cell should list. */
class TooMany extends Error {
  constructor(readonly count: number) {
    super();
  }
}
