/**
 * Signing in at the page of an identity provider.
 */
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IPending } from '../api';
import { NewTab } from '../page';
import { timeText, wordsOf } from '../words';
import { Action, IViewProps, Message } from './common';

/** Begins to sign in; for event handlers of clicks. */
function begin({ model, trans }: IViewProps, byCode: boolean): void {
  const page = new NewTab(trans.__('Asking %1 where to sign in…', model.query.instance));
  void model.beginSignIn(page, byCode);
}

/** The way to the page, and back. */
export function PageSignIn(props: IViewProps): JSX.Element {
  const { model, trans } = props;
  const { waiting, whySignedOut, signingIn } = model;
  return (
    <div className="jp-RucioLab-signin">
      {whySignedOut && <Message role="alert" words={wordsOf(whySignedOut, trans)} />}
      {waiting ? <Waiting {...props} waiting={waiting} /> : <Begin {...props} />}
      {signingIn.phase === 'slow' && (
        <Action label={trans.__('Stop asking')} onClick={() => signingIn.cancel()} />
      )}
    </div>
  );
}

function Begin(props: IViewProps): JSX.Element {
  const { model, trans } = props;
  const { signingIn, whySignedOut, query } = model;
  return (
    <>
      {!whySignedOut && <p>{trans.__('You are signed out of %1.', query.instance)}</p>}
      <p className="jp-RucioLab-remedy">
        {trans.__('You sign in at the page of its identity provider; it opens in a new tab.')}
      </p>
      <Button
        className="jp-mod-styled jp-mod-accept jp-RucioLab-submit"
        disabled={signingIn.isOpen}
        onClick={() => begin(props, false)}
      >
        {signingIn.isOpen
          ? trans.__('Asking for the page…')
          : trans.__('Sign in at the identity provider')}
      </Button>
    </>
  );
}

function Waiting(props: IViewProps & { waiting: IPending }): JSX.Element {
  const { model, trans, waiting } = props;
  const { host } = new URL(waiting.url);
  return (
    <>
      <Message
        role="status"
        words={{
          message: trans.__('Waiting for you at %1', host),
          remedy: waiting.wants_code
            ? trans.__('Sign in there, and enter here the code that the last page shows.')
            : trans.__('Sign in there; it goes on here by itself.')
        }}
      />
      {waiting.wants_code && <Code {...props} />}
      {model.pollError && <Message role="alert" words={wordsOf(model.pollError, trans)} />}
      <div className="jp-RucioLab-actions">
        <a
          className="jp-RucioLab-link"
          href={waiting.url}
          target="_blank"
          rel="noopener noreferrer"
        >
          {trans.__('Open the page again')}
        </a>
        {!waiting.wants_code && (
          <Action label={trans.__('Enter a code instead')} onClick={() => begin(props, true)} />
        )}
        <Action label={trans.__('Cancel')} onClick={() => void model.signOut()} />
      </div>
      <p className="jp-RucioLab-hint">
        {trans.__('This goes on for another %1.', timeText(waiting.seconds_left * 1000, trans))}
      </p>
    </>
  );
}

/** The field for the code, which is a secret: it stands nowhere but in the field, and only until it is sent. */
function Code({ model, trans }: IViewProps): JSX.Element {
  const field = React.useRef<HTMLInputElement>(null);
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    void model.signIn({ code: field.current!.value });
    field.current!.value = '';
  };
  return (
    <form className="jp-RucioLab-code" onSubmit={submit}>
      <label>
        {trans.__('Code')}
        <input
          ref={field}
          className="jp-mod-styled jp-RucioLab-input"
          autoFocus // it was asked for
          autoComplete="one-time-code"
          spellCheck={false}
          required
        />
      </label>
      <Button
        type="submit"
        className="jp-mod-styled jp-mod-accept jp-RucioLab-submit"
        disabled={model.signingIn.isOpen}
      >
        {model.signingIn.isOpen ? trans.__('Signing in…') : trans.__('Sign in')}
      </Button>
    </form>
  );
}
