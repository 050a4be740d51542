/**
 * Shown instead of the search if no search is possible: why, and what to do.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { LakeModel } from '../model';
import { printable } from '../text';
import { IWords, wordsOf } from '../words';
import { VERSION } from '../version';
import { Action, IViewProps, Message, Wait } from './common';
import { PageSignIn } from './pagesignin';

/** Code for the user to copy. */
const CODE = {
  install: 'pip install rucio-lab\njupyter server extension enable rucio_lab',
  reinstall: 'pip install --force-reinstall --no-deps rucio-lab',
  instance: '[instances.mine]\nurl = "https://rucio.cern.ch"',
  demo: 'rucio-lab demo'
};

/** Why no search is possible. */
export function Notice({ model, trans }: IViewProps): JSX.Element | null {
  const { connecting, known } = model;
  const again = () => void model.connect();
  if (connecting.error?.code === 'no_server') {
    return <NoServer model={model} trans={trans} />;
  }
  if (connecting.phase !== 'done' || !known) {
    return (
      <Wait asking={connecting} whom={trans.__('the Jupyter server')} trans={trans} retry={again} />
    );
  }
  if (model.isForeignVersion) {
    return <ForeignVersion model={model} trans={trans} />;
  }
  if (!model.instance) {
    return <NoInstance model={model} trans={trans} />;
  }
  if (model.session!.auth === 'oidc') {
    return <PageSignIn model={model} trans={trans} />;
  }
  return <SignIn model={model} trans={trans} />;
}

function NoServer({ model, trans }: IViewProps): JSX.Element {
  return (
    <Message
      role="alert"
      words={{
        message: trans.__('The server extension of rucio_lab does not answer.'),
        remedy: trans.__(
          'Install rucio-lab where the Jupyter server runs, enable it, and restart the server:'
        )
      }}
    >
      <pre>{CODE.install}</pre>
      <Action label={trans.__('Try again')} onClick={() => void model.connect()} />
    </Message>
  );
}

function ForeignVersion({ model, trans }: IViewProps): JSX.Element {
  return (
    <Message
      role="alert"
      words={{
        message: trans.__(
          'This sidebar is version %1, but its server extension is version %2.',
          VERSION,
          model.known!.version
        ),
        remedy: trans.__(
          'Restart the Jupyter server and reload this page. If that does not help, reinstall rucio-lab:'
        )
      }}
    >
      <pre>{CODE.reinstall}</pre>
      <Action label={trans.__('Try again')} onClick={() => void model.connect()} />
    </Message>
  );
}

function NoInstance({ model, trans }: IViewProps): JSX.Element {
  return (
    <div className="jp-RucioLab-message">
      <p>{trans.__('No Rucio instance is configured.')}</p>
      {model.known!.problems.map(problem => (
        <p key={problem} className="jp-RucioLab-remedy">
          {printable(problem)}
        </p>
      ))}
      <p className="jp-RucioLab-remedy">
        {trans.__(
          'Set RUCIO_CONFIG to your rucio.cfg before Jupyter starts, or write ~/.jupyter/rucio_lab.toml:'
        )}
      </p>
      <pre>{CODE.instance}</pre>
      <p className="jp-RucioLab-remedy">
        {trans.__('To try it without an account, run a demo lake:')}
      </p>
      <pre>{CODE.demo}</pre>
      <Action label={trans.__('Check again')} onClick={() => void model.connect()} />
    </div>
  );
}

/** Why the user has to sign in or why that failed, and what to do beyond the form below. */
function signInWords(
  { signingIn, whySignedOut: error, session }: LakeModel,
  trans: TranslationBundle
): IWords | null {
  if (!error) {
    return null;
  }
  const words = wordsOf(error, trans);
  if (error.code !== 'sign_in_needed') {
    return words;
  }
  if (!session!.fields.length) {
    return { ...words, remedy: printable(error.remedy) }; // it says where to put the certificate, key or token
  }
  return signingIn.error
    ? { ...words, remedy: trans.__('Check the user name and password, and try again.') }
    : words;
}

/** What the instance uses instead of a password. */
function methodText(auth: string, trans: TranslationBundle): string {
  const known: Record<string, string> = {
    gss: trans.__('your Kerberos ticket'),
    ssh: trans.__('your SSH key'),
    token: trans.__('a token'),
    x509: trans.__('your X.509 certificate'),
    x509_proxy: trans.__('your X.509 proxy')
  };
  return known[auth] ?? auth;
}

/** The sign-in form, with the fields that the instance needs; there may be none. */
function SignIn({ model, trans }: IViewProps): JSX.Element {
  const { fields, username, auth } = model.session!;
  const { signingIn } = model;
  const words = signInWords(model, trans);
  const password = React.useRef<HTMLInputElement>(null);
  const user = React.useRef<HTMLInputElement>(null);
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    const given = Object.fromEntries(
      Object.entries({
        username: user.current?.value,
        password: password.current?.value
      }).filter(([, value]) => value !== undefined)
    );
    void model.signIn(given);
    if (password.current) {
      password.current.value = '';
    }
  };
  return (
    <form className="jp-RucioLab-signin" onSubmit={submit}>
      {words ? (
        <Message role="alert" words={words} />
      ) : (
        <p>{trans.__('You are signed out of %1.', model.query.instance)}</p>
      )}
      {fields.includes('username') && (
        <label>
          {trans.__('User name')}
          <input
            ref={user}
            className="jp-mod-styled jp-RucioLab-input"
            name="username"
            autoComplete="username"
            defaultValue={username}
            required
          />
        </label>
      )}
      {fields.includes('password') && (
        <label>
          {trans.__('Password')}
          <input
            ref={password}
            className="jp-mod-styled jp-RucioLab-input"
            type="password"
            name="password"
            autoComplete="current-password"
            required
          />
        </label>
      )}
      {!fields.length && (
        <p className="jp-RucioLab-remedy">
          {trans.__('This instance uses %1 instead of a password.', methodText(auth, trans))}
        </p>
      )}
      <Button
        type="submit"
        className="jp-mod-styled jp-mod-accept jp-RucioLab-submit"
        disabled={signingIn.isOpen}
      >
        {signingIn.isOpen ? trans.__('Signing in…') : trans.__('Sign in')}
      </Button>
      {signingIn.phase === 'slow' && (
        <Action label={trans.__('Cancel')} onClick={() => signingIn.cancel()} />
      )}
    </form>
  );
}
