/**
 * The credentials for storages, which are separate from the sign-in to Rucio.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IStorage } from '../api';
import { printable } from '../text';
import { timeText } from '../words';
import { IViewProps, Pairs } from './common';

/** A summary that opens to show the details. */
export function Storage({ model, trans }: IViewProps): JSX.Element | null {
  const storage = model.session!.storage;
  if (!storage) {
    return null;
  }
  return (
    <details
      className="jp-RucioLab-problems jp-RucioLab-storage"
      onToggle={event => {
        if (event.currentTarget.open) {
          void model.checkSession(); // files and commands may provide new ones
        }
      }}
    >
      <summary>{trans.__('Storage: %1', summary(storage, trans))}</summary>
      {storage.problems.length > 0 && (
        <div role="note" className="jp-RucioLab-message jp-mod-alert">
          {storage.problems.map(problem => (
            <p key={problem}>{printable(problem)}</p>
          ))}
          <p className="jp-RucioLab-remedy">
            {trans.__(
              'Fix this if a storage needs it. In a notebook, "%rucio_login --proxy" creates a proxy; the configuration says where the token comes from.'
            )}
          </p>
        </div>
      )}
      <Token {...{ storage, trans }} />
      <Proxy {...{ storage, trans }} />
      <Pairs pairs={[[trans.__('CAs'), printable(storage.ca)]]} />
    </details>
  );
}

interface IPartProps {
  storage: IStorage;
  trans: TranslationBundle;
}

function Token({ storage: { token }, trans }: IPartProps): JSX.Element {
  const facts: [string, string | null][] = token
    ? [
        [trans.__('Token'), trans.__('from %1', printable(token.source))],
        [trans.__('Audience'), printable(token.audience) || trans.__('any storage')],
        [trans.__('Issuer'), printable(token.issuer) || null],
        [trans.__('Time left'), timeLeftText(token.expires, trans)]
      ]
    : [[trans.__('Token'), trans.__('none')]];
  return <Pairs pairs={facts} />;
}

function Proxy({ storage: { proxy }, trans }: IPartProps): JSX.Element {
  const facts: [string, string | null][] = proxy
    ? [
        [trans.__('Proxy'), printable(proxy.path)],
        [trans.__('Subject'), printable(proxy.subject)],
        [trans.__('VOMS'), printable(proxy.attributes.join(', ')) || trans.__('no attributes')],
        [trans.__('Time left'), timeLeftText(proxy.expires, trans)]
      ]
    : [[trans.__('Proxy'), trans.__('none')]];
  return <Pairs pairs={facts} />;
}

function summary({ token, proxy, problems }: IStorage, trans: TranslationBundle): string {
  const parts = [
    token && [trans.__('token'), leftText(token.expires, trans)],
    proxy && [trans.__('proxy'), leftText(proxy.expires, trans)],
    problems.length > 0 && [trans._n('%1 problem', '%1 problems', problems.length)]
  ];
  const texts = parts.filter(part => !!part).map(part => part.filter(Boolean).join(' '));
  return texts.join(' · ') || trans.__('no token, no proxy');
}

function timeLeftText(expires: string | null, trans: TranslationBundle): string {
  return leftText(expires, trans) || trans.__('does not expire');
}

function leftText(expires: string | null, trans: TranslationBundle): string {
  return expires === null ? '' : timeText(Math.max(0, Date.parse(expires) - Date.now()), trans);
}
