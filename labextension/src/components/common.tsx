/**
 * Small parts of the views.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Asking } from '../asking';
import { LakeModel } from '../model';
import { IWords, wordsOf } from '../words';

/** Properties of every view. */
export interface IViewProps {
  model: LakeModel;
  trans: TranslationBundle;
}

/** A message, what to do about it, and buttons for that. */
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

/** Names and values; unknown values are left out. */
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

/** A button with a label. */
export function Action(props: { label: string; title?: string; onClick: () => void }): JSX.Element {
  const { label, title, onClick } = props;
  return (
    <Button className="jp-mod-styled jp-RucioLab-action" small title={title} onClick={onClick}>
      {label}
    </Button>
  );
}

/** The state of a request without an answer: loading, slow, failed or cancelled. */
export function Wait(props: {
  asking: Asking;
  /** The name of the server. */
  whom: string;
  trans: TranslationBundle;
  retry: () => void;
}): JSX.Element | null {
  const { asking, whom, trans, retry } = props;
  switch (asking.phase) {
    case 'loading':
      return (
        <Message role="status" words={{ message: trans.__('Waiting for %1…', whom), remedy: '' }} />
      );
    case 'slow':
      return (
        <Message
          role="status"
          words={{ message: trans.__('Still waiting for %1…', whom), remedy: '' }}
        >
          <Action label={trans.__('Cancel')} onClick={() => asking.cancel()} />
        </Message>
      );
    case 'cancelled':
      return (
        <Message role="status" words={{ message: trans.__('Cancelled.'), remedy: '' }}>
          <Action label={trans.__('Try again')} onClick={retry} />
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
