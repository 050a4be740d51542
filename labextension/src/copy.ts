/**
 * Copying to the clipboard.
 */
import { Clipboard, Notification } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { IListing, LakeError } from './api';
import { comments, pythonList } from './code';
import { LakeModel } from './model';
import { printable } from './text';
import { waitFor } from './waiting';
import { numberText, wordsOf } from './words';

/**
 * Copy a text.
 *
 * @returns Whether it was copied: some browsers need a recent click, and without TLS only the old method works.
 */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    Clipboard.copyToSystem(text);
    return navigator.userActivation?.isActive ?? true;
  }
}

/**
 * Copies the addresses of all files of a DID as a Python list. A new request aborts the previous one.
 */
export class ListCopier {
  constructor(
    private readonly model: LakeModel,
    private readonly trans: TranslationBundle
  ) {}

  /** Get the addresses, copy them, and show the result. */
  async copy(did: string): Promise<void> {
    this._controller?.abort();
    const controller = (this._controller = new AbortController());
    const { model, trans } = this;
    try {
      const listing = await waitFor(
        model.resolve(did, 0, controller.signal),
        trans.__('Getting the addresses of %1…', printable(did)),
        trans,
        controller
      );
      if (!controller.signal.aborted) {
        await this._offer(listing);
      }
    } catch (error) {
      if (!controller.signal.aborted) {
        const { message, remedy } = wordsOf(LakeError.of(error), trans);
        Notification.error(`${message} ${remedy}`, { autoClose: false });
      }
    }
  }

  private async _offer(listing: IListing): Promise<void> {
    const { trans } = this;
    const text = comments(listing) + pythonList(listing);
    if (await copy(text)) {
      this._tell(listing);
      return;
    }
    Notification.info(trans.__('The addresses are ready.'), {
      autoClose: false,
      actions: [
        { label: trans.__('Copy'), callback: () => void copy(text).then(() => this._tell(listing)) }
      ]
    });
  }

  private _tell({ files, missing, total, notes }: IListing): void {
    const { trans } = this;
    if (Object.keys(missing).length) {
      const reasons = [...new Set(Object.values(missing))].slice(0, 3).join('; ');
      Notification.warning(
        trans.__(
          'Copied the addresses of %1 of %2 files. The others cannot be read from here: %3.',
          numberText(files.length),
          numberText(total),
          printable(reasons)
        ),
        { autoClose: false }
      );
      return;
    }
    const said = trans._n(
      'Copied the address of one file.',
      'Copied the addresses of %1 files.',
      files.length
    );
    Notification.success([said, ...notes.map(printable)].join(' '), {
      autoClose: notes.length ? false : 5000
    });
  }

  private _controller: AbortController | null = null;
}
