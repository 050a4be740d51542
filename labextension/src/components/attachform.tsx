/**
 * The dialog that asks for the name of a variable.
 */
import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { faultOf } from '../names';
import { faultWords } from '../words';

/** What the dialog asks about. */
export interface IQuestion {
  did: string;
  /** The name that is proposed. */
  proposed: string;
  taken: ReadonlySet<string>;
  /** What will happen, in words. */
  notes: string[];
}

class AttachForm extends ReactWidget {
  constructor(
    private readonly question: IQuestion,
    private readonly trans: TranslationBundle
  ) {
    super();
    this._name = question.proposed;
    this.addClass('jp-RucioLab-form');
  }

  getValue(): string {
    return this._name;
  }

  protected override render(): JSX.Element {
    const { question, trans } = this;
    const fault = faultOf(this._name);
    const isTaken = question.taken.has(this._name);
    return (
      <>
        <p className="jp-RucioLab-did">{question.did}</p>
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
        {question.notes.map(note => (
          <p key={note} className="jp-RucioLab-remedy">
            {note}
          </p>
        ))}
      </>
    );
  }

  private _name: string;
}

/**
 * Ask for a name until it is a good one.
 *
 * @returns The name; null if the user thought better of it.
 */
export async function askName(
  question: IQuestion,
  trans: TranslationBundle
): Promise<string | null> {
  let proposed = question.proposed;
  for (;;) {
    const { button, value } = await showDialog({
      title: trans.__('Attach to a variable'),
      body: new AttachForm({ ...question, proposed }, trans),
      focusNodeSelector: 'input',
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Attach') })
      ]
    });
    if (!button.accept || value === null) {
      return null;
    }
    if (faultOf(value) === null) {
      return value.normalize('NFKC');
    }
    proposed = value;
  }
}
