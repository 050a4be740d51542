/**
 * The dialog that asks for the name of a variable and how to read the files.
 */
import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { HTMLSelect } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Access } from '../api';
import { faultOf } from '../names';
import { printable } from '../text';
import { faultWords } from '../words';

/** Input of the dialog. */
export interface IQuestion {
  did: string;
  /** The proposed name. */
  proposed: string;
  taken: ReadonlySet<string>;
  /** Sentences that say what will happen. */
  notes: string[];
  /** How files are attached by default; null if there is no choice. */
  access: Access | null;
}

/** Result of the dialog. */
export interface IAnswer {
  name: string;
  /** How to read the files; null for the default of the instance. */
  access: Access | null;
}

class AttachForm extends ReactWidget {
  constructor(
    private readonly question: IQuestion,
    private readonly trans: TranslationBundle,
    private _access: Access | null
  ) {
    super();
    this._name = question.proposed;
    this.addClass('jp-RucioLab-form');
  }

  getValue(): IAnswer {
    return { name: this._name, access: this._access };
  }

  protected override render(): JSX.Element {
    const { question, trans } = this;
    const fault = faultOf(this._name);
    const isTaken = question.taken.has(this._name);
    return (
      <>
        <p className="jp-RucioLab-did">{printable(question.did)}</p>
        <label>
          {trans.__('Variable')}
          <input
            className="jp-mod-styled jp-RucioLab-input"
            autoFocus // the dialog tries to focus it before it is rendered
            spellCheck={false}
            autoComplete="off"
            defaultValue={this._name}
            aria-invalid={fault !== null}
            aria-describedby="jp-RucioLab-fault"
            onChange={event => {
              this._name = event.target.value.trim();
              this.update();
            }}
          />
        </label>
        <p id="jp-RucioLab-fault" className="jp-RucioLab-fault" role="status">
          {fault
            ? faultWords(fault, trans)
            : isTaken
              ? trans.__('A variable with this name already exists.')
              : ''}
        </p>
        {question.access && this._renderAccess(question.access)}
        {question.notes.map(note => (
          <p key={note} className="jp-RucioLab-remedy">
            {note}
          </p>
        ))}
      </>
    );
  }

  private _renderAccess(own: Access): JSX.Element {
    const { trans } = this;
    const chosen = this._access ?? own;
    const options = ACCESSES.map(value => ({
      value,
      label: value === own ? trans.__('%1 (default)', value) : value
    }));
    return (
      <>
        <label>
          {trans.__('Access')}
          <HTMLSelect
            value={chosen}
            options={options}
            aria-describedby="jp-RucioLab-access"
            onChange={event => {
              const value = event.target.value as Access;
              this._access = value === own ? null : value;
              this.update();
            }}
          />
        </label>
        <p id="jp-RucioLab-access" className="jp-RucioLab-remedy" role="status">
          {accessText(chosen, trans)}
        </p>
      </>
    );
  }

  private _name: string;
}

const ACCESSES: Access[] = ['auto', 'stream', 'mount', 'lake', 'download'];

/** Say what a way to make files usable is. */
function accessText(access: Access, trans: TranslationBundle): string {
  return {
    auto: trans.__(
      'Whatever is best: a copy that was downloaded before, a path if the RSE is mounted, otherwise a URL.'
    ),
    stream: trans.__('URLs that are read over the network.'),
    mount: trans.__('Paths on RSEs that are mounted here.'),
    lake: trans.__(
      'rucio:// addresses, resolved when they are opened; they keep working when a replica fails.'
    ),
    download: trans.__('Copies on this machine, each compared with the checksum that Rucio has.')
  }[access];
}

/**
 * Ask until the name is valid.
 *
 * @returns Null if the user cancels.
 */
export async function askHow(
  question: IQuestion,
  trans: TranslationBundle
): Promise<IAnswer | null> {
  let { proposed } = question;
  let access: Access | null = null;
  for (;;) {
    const { button, value }: Dialog.IResult<IAnswer> = await showDialog({
      title: trans.__('Attach to a variable'),
      body: new AttachForm({ ...question, proposed }, trans, access),
      focusNodeSelector: 'input',
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Attach') })
      ]
    });
    if (!button.accept || value === null) {
      return null;
    }
    if (faultOf(value.name) === null) {
      return { ...value, name: value.name.normalize('NFKC') };
    }
    ({ name: proposed, access } = value);
  }
}
