/**
 * What storages are shown, which is not the sign-in to Rucio: a line, with the rest behind it.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IStorage } from '../api';
import { printable } from '../text';
import { timeText } from '../words';
import { IViewProps, Pairs } from './common';

/** The line, and what is behind it. */
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
          void model.checkSession(); // files and commands may give others by now
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
              'Mend it if a storage asks for it. In a notebook, "%rucio_login --proxy" makes a proxy; where the token comes from stands in the configuration.'
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
        [trans.__('For'), printable(token.audience) || trans.__('any storage')],
        [trans.__('Issuer'), printable(token.issuer) || null],
        [trans.__('Lasts'), lastsText(token.expires, trans)]
      ]
    : [[trans.__('Token'), trans.__('none')]];
  return <Pairs pairs={facts} />;
}

function Proxy({ storage: { proxy }, trans }: IPartProps): JSX.Element {
  const facts: [string, string | null][] = proxy
    ? [
        [trans.__('Proxy'), printable(proxy.path)],
        [trans.__('Of'), printable(proxy.subject)],
        [trans.__('VOMS'), printable(proxy.attributes.join(', ')) || trans.__('no attributes')],
        [trans.__('Lasts'), lastsText(proxy.expires, trans)]
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

function lastsText(expires: string | null, trans: TranslationBundle): string {
  return leftText(expires, trans) || trans.__('without an end');
}

function leftText(expires: string | null, trans: TranslationBundle): string {
  return expires === null ? '' : timeText(Math.max(0, Date.parse(expires) - Date.now()), trans);
}
