/**
 * From a DID to a cell in a notebook, with all messages to the user.
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

/** What to attach. */
interface IWanted {
  did: string;
  /** Its name, without its scope. */
  name: string;
  instance: string;
  /** How files are attached by default; null for downloaded files. */
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

  /** Attach a DID; show the user why if that fails. */
  async attach({ did, name }: IDid): Promise<void> {
    const { instance } = this.model;
    await this._tryTo({ did, name, instance: instance!.name, access: instance!.access });
  }

  /** Attach downloaded files. */
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
      trans.__('Waiting for the kernel of the notebook to start…'),
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

  /** Return a function that writes the line that attaches a DID to a variable. */
  private _line({ did, instance }: IWanted): (name: string, access: Access | null) => string {
    const { trans, model } = this;
    if (!isWritable(did)) {
      const message = trans.__('The name %1 cannot be written in a cell.', printable(did));
      const remedy = trans.__('Attach a dataset or container that contains it.');
      throw new LakeError('unwritable', message, remedy);
    }
    const where = model.known?.default === instance ? null : instance;
    return (name, access) => attachLine(did, name, where, access);
  }

  private async _target(): Promise<Target> {
    return Target.of(await currentNotebook(this.app, this.tracker));
  }

  /** Return code with the addresses, for a kernel without rucio_lab; null if the user cancels. */
  private async _inlineCode(did: string, name: string): Promise<string | null> {
    const { model, trans } = this;
    const controller = new AbortController();
    let listing: IListing;
    try {
      listing = await waitFor(
        model.resolve(did, MOST_INLINE, controller.signal, 'auto'),
        trans.__('Getting the addresses of %1…', printable(did)),
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
    listing = withoutOurs(listing, trans.__('it needs rucio_lab, which the kernel does not have'));
    if (!listing.files.length) {
      const message = trans.__('Reading this needs rucio_lab, which the kernel does not have.');
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
      notes.push(trans.__('This notebook already attaches it as %1.', names.join(', ')));
    }
    if (!target.canSave) {
      notes.push(trans.__('This notebook cannot be saved. To keep the cell, make a copy of it.'));
    }
    return notes;
  }

  private _wayInto(target: Target): string {
    const { trans } = this;
    const title = printable(target.panel.title.label);
    if (!target.hasKernel) {
      return trans.__('%1 has no kernel: the cell will be written but not run.', title);
    }
    if (target.isBusy) {
      return trans.__('The kernel of %1 is busy: the cell will run when it is free.', title);
    }
    if (target.lacksPackage) {
      return trans.__(
        'The kernel of %1 does not have rucio_lab: the addresses will be written as plain Python.',
        title
      );
    }
    return trans.__('A cell will be added below the active cell of %1 and run.', title);
  }

  private _tell(outcome: Outcome, name: string): void {
    const { trans } = this;
    const words: Record<Outcome, string> = {
      dropped: trans.__(
        'The cell for %1 was not run because an earlier cell failed. Run it again.',
        name
      ),
      inline: trans.__(
        'The kernel does not have rucio_lab: %1 is a plain list, valid as long as the addresses are.',
        name
      ),
      'no kernel': trans.__('The cell for %1 was written. Choose a kernel and run it.', name),
      queued: trans.__('The kernel is busy: the cell for %1 will run when it is free.', name)
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
          'The kernel does not have rucio_lab, and this has %1 files, more than the %2 that fit in a cell.',
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
        message: trans.__('A new notebook was opened in another tab.'),
        remedy: trans.__('Attach again from there.')
      },
      'no python': {
        message: trans.__('The kernel of the notebook is not a Python kernel.'),
        remedy: trans.__('Switch to a notebook with a Python kernel and attach again.')
      },
      'read-only': {
        message: trans.__('The notebook is read-only.'),
        remedy: trans.__('Switch to another notebook, or copy this one, and attach again.')
      }
    };
  }

  private _isBusy = false;
}

/** More files than a cell should list. */
class TooMany extends Error {
  constructor(readonly count: number) {
    super();
  }
}
