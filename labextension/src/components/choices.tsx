/**
 * The choice of replicas, loaded when the user opens it.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Fate, IChoice } from '../choice';
import { printable } from '../text';
import { numberText } from '../words';
import { IViewProps, Wait } from './common';

/** Maximum number of rows to show. */
const MOST_ROWS = 40;

/** A line that opens to show the choice of replicas. */
export function Choice({ model, trans }: IViewProps): JSX.Element {
  const { did } = model.node!.did;
  return (
    <details
      key={did}
      className="jp-RucioLab-choice"
      onToggle={event => {
        if (event.currentTarget.open && model.explaining.phase === 'idle') {
          void model.explain();
        }
      }}
    >
      <summary>{trans.__('Which replicas are read, and why')}</summary>
      <Wait
        asking={model.explaining}
        whom={model.query.instance}
        trans={trans}
        retry={() => void model.explain()}
      />
      <Rows model={model} trans={trans} />
    </details>
  );
}

function Rows({ model, trans }: IViewProps): JSX.Element | null {
  const { choices } = model;
  if (!choices || model.explaining.phase !== 'done') {
    return null;
  }
  const { rows, total } = choices;
  const shown = rows.slice(0, MOST_ROWS);
  const more = rows.length - shown.length;
  return (
    <>
      {(Object.keys(titles(trans)) as Fate[]).map(fate => (
        <Part
          key={fate}
          title={titles(trans)[fate]}
          rows={shown.filter(row => row.fate === fate)}
          total={total}
          trans={trans}
        />
      ))}
      {!total && <p className="jp-RucioLab-remedy">{trans.__('It has no files.')}</p>}
      {more > 0 && (
        <p className="jp-RucioLab-remedy">
          {trans._n('And one more row.', 'And %1 more rows.', more)}
        </p>
      )}
      {choices.more && (
        <p className="jp-RucioLab-remedy">
          {trans.__('These are the first %1 files.', numberText(total))}
        </p>
      )}
    </>
  );
}

function titles(trans: TranslationBundle): Record<Fate, string> {
  return {
    taken: trans.__('Taken'),
    'in reserve': trans.__('In reserve'),
    'left out': trans.__('Left out'),
    missing: trans.__('Cannot be read')
  };
}

function Part(props: {
  title: string;
  rows: IChoice[];
  total: number;
  trans: TranslationBundle;
}): JSX.Element | null {
  const { title, rows, total, trans } = props;
  if (!rows.length) {
    return null;
  }
  return (
    <>
      <h6>{title}</h6>
      <ul>
        {rows.map(({ rse, endpoint, why, files, example, fate }) => (
          <li key={[rse, endpoint, why].join(' ')}>
            {rse && <span className="jp-RucioLab-rse">{printable(rse)}</span>}
            {total > 1 && (
              <span title={printable(example)}>{filesText(files, example, total, trans)}</span>
            )}
            {(endpoint || fate === 'taken' || fate === 'in reserve') && (
              <span className="jp-RucioLab-endpoint">
                {printable(endpoint) || (rse ? trans.__('mounted') : trans.__('downloaded before'))}
              </span>
            )}
            {why && <span className="jp-RucioLab-why">{printable(why)}</span>}
          </li>
        ))}
      </ul>
    </>
  );
}

function filesText(
  files: number,
  example: string,
  total: number,
  trans: TranslationBundle
): string {
  if (files === total) {
    return trans.__('all %1 files', numberText(files));
  }
  const name = printable(example);
  return files === 1 ? name : trans.__('%1 files, such as %2', numberText(files), name);
}
