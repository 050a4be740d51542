/**
 * What stands in place of the search where nothing can be searched: the reason, and the way out of it.
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

/** What a user can copy. */
const CODE = {
  install: 'pip install rucio-lab\njupyter server extension enable rucio_lab',
  reinstall: 'pip install --force-reinstall --no-deps rucio-lab',
  instance: '[instances.mine]\nurl = "https://rucio.cern.ch"',
  demo: 'rucio-lab demo'
};

/** Why nothing can be searched. */
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
        message: trans.__('The server half of rucio_lab does not answer.'),
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
          'This sidebar is version %1, its server half %2.',
          VERSION,
          model.known!.version
        ),
        remedy: trans.__(
          'Restart the Jupyter server and reload this page. If that does not help, install rucio-lab anew:'
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
        {trans.__('To try it without any account, run a lake of your own:')}
      </p>
      <pre>{CODE.demo}</pre>
      <Action label={trans.__('Look again')} onClick={() => void model.connect()} />
    </div>
  );
}

/** Why one has to sign in, or why it failed; and what the form below cannot do. */
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
    return { ...words, remedy: printable(error.remedy) }; // where the certificate, key or token is looked for
  }
  return signingIn.error
    ? { ...words, remedy: trans.__('Check user name and password, and try again.') }
    : words;
}

/** What one signs in with, where it is no password. */
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

/** The form for what the instance's way of signing in needs, which may be nothing. */
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
          {trans.__('This instance takes no password, but %1.', methodText(auth, trans))}
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
