/**
 * Small parts of the views.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Asking } from '../asking';
import { LakeModel } from '../model';
import { IWords, wordsOf } from '../words';

/** What every view is given. */
export interface IViewProps {
  model: LakeModel;
  trans: TranslationBundle;
}

/** A sentence, what to do about it, and the button that does it. */
export function Message(props: {
  words: IWords;
  role?: 'alert' | 'status';
  children?: React.ReactNode;
}): JSX.Element {
  const { words, role, children } = props;
  return (
    <div className={`jp-RucioLab-message jp-mod-${role}`} role={role}>
      <p>{words.message}</p>
      {words.remedy && <p className="jp-RucioLab-remedy">{words.remedy}</p>}
      {children}
    </div>
  );
}

/** Facts: what, and which; those that are not known are left out. */
export function Pairs(props: { pairs: [string, string | null][] }): JSX.Element {
  return (
    <dl>
      {props.pairs
        .filter(([, value]) => value !== null)
        .map(([key, value]) => (
          <React.Fragment key={key}>
            <dt>{key}</dt>
            <dd>{value}</dd>
          </React.Fragment>
        ))}
    </dl>
  );
}

/** A button with a word on it. */
export function Action(props: { label: string; title?: string; onClick: () => void }): JSX.Element {
  const { label, title, onClick } = props;
  return (
    <Button className="jp-mod-styled jp-RucioLab-action" small title={title} onClick={onClick}>
      {label}
    </Button>
  );
}

/** How a question stands, unless it is answered: loading, slow, failed or given up. */
export function Wait(props: {
  asking: Asking;
  /** Who is asked. */
  whom: string;
  trans: TranslationBundle;
  retry: () => void;
}): JSX.Element | null {
  const { asking, whom, trans, retry } = props;
  switch (asking.phase) {
    case 'loading':
      return (
        <Message role="status" words={{ message: trans.__('Asking %1…', whom), remedy: '' }} />
      );
    case 'slow':
      return (
        <Message role="status" words={{ message: trans.__('Still asking %1…', whom), remedy: '' }}>
          <Action label={trans.__('Cancel')} onClick={() => asking.cancel()} />
        </Message>
      );
    case 'cancelled':
      return (
        <Message role="status" words={{ message: trans.__('Cancelled.'), remedy: '' }}>
          <Action label={trans.__('Ask again')} onClick={retry} />
        </Message>
      );
    case 'failed':
      return (
        <Message role="alert" words={wordsOf(asking.error!, trans)}>
          <Action label={trans.__('Try again')} onClick={retry} />
        </Message>
      );
    default:
      return null;
  }
}
