/**
 * Sign-in at the page of an identity provider.
 */
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IPending } from '../api';
import { NewTab } from '../page';
import { timeText, wordsOf } from '../words';
import { Action, IViewProps, Message } from './common';

/** Starts a sign-in; call it from a click handler. */
function begin({ model, trans }: IViewProps, byCode: boolean): void {
  const page = new NewTab(trans.__('Getting the sign-in page from %1…', model.query.instance));
  void model.beginSignIn(page, byCode);
}

/** Start the sign-in, or wait for it. */
export function PageSignIn(props: IViewProps): JSX.Element {
  const { model, trans } = props;
  const { waiting, whySignedOut, signingIn } = model;
  return (
    <div className="jp-RucioLab-signin">
      {whySignedOut && <Message role="alert" words={wordsOf(whySignedOut, trans)} />}
      {waiting ? <Waiting {...props} waiting={waiting} /> : <Begin {...props} />}
      {signingIn.phase === 'slow' && (
        <Action label={trans.__('Stop waiting')} onClick={() => signingIn.cancel()} />
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
        {trans.__('You sign in at the page of its identity provider, which opens in a new tab.')}
      </p>
      <Button
        className="jp-mod-styled jp-mod-accept jp-RucioLab-submit"
        disabled={signingIn.isOpen}
        onClick={() => begin(props, false)}
      >
        {signingIn.isOpen
          ? trans.__('Getting the page…')
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
          message: trans.__('Waiting for you to sign in at %1', host),
          remedy: waiting.wants_code
            ? trans.__('Sign in there, then enter the code from the last page here.')
            : trans.__('Sign in there; this page continues automatically.')
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
        {trans.__('You have another %1 to sign in.', timeText(waiting.seconds_left * 1000, trans))}
      </p>
    </>
  );
}

/** The field for the code. The code is a secret: it is only in the field, and only until it is sent. */
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
          autoFocus // the user has just asked for it
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
