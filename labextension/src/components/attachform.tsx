/**
 * The dialog that asks for the name of a variable, and how the files are to be read.
 */
import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { HTMLSelect } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Access } from '../api';
import { faultOf } from '../names';
import { printable } from '../text';
import { faultWords } from '../words';

/** What the dialog asks about. */
export interface IQuestion {
  did: string;
  /** The name that is proposed. */
  proposed: string;
  taken: ReadonlySet<string>;
  /** What will happen, in words. */
  notes: string[];
  /** How files are attached where nothing else is said; null where there is no choice. */
  access: Access | null;
}

/** What was answered. */
export interface IAnswer {
  name: string;
  /** How the files are to be read; null for the way of the instance. */
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
            autoFocus // where the dialog looks for it before it is there
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
              ? trans.__('There is a variable of this name already.')
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
    auto: trans.__('Whichever is best: a path where the RSE is mounted, else a URL.'),
    stream: trans.__('URLs, read over the network.'),
    mount: trans.__('Paths, on RSEs that are mounted here.'),
    lake: trans.__(
      'rucio:// addresses: resolved when they are opened, and alive when a replica dies.'
    ),
    download: trans.__('Copies on this machine, each checked against its checksum.')
  }[access];
}

/**
 * Ask until the name is a good one.
 *
 * @returns Null if the user thought better of it.
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
