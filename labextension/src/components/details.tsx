/**
 * The details of one DID.
 */
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IDid } from '../api';
import { LakeModel } from '../model';
import { printable } from '../text';
import { numberText, sizeText, wordsOf } from '../words';
import { Choice } from './choices';
import { IViewProps, Message, Pairs, Wait } from './common';

/** Actions for a DID. */
export interface IDetailsProps extends IViewProps {
  attach: () => void;
  download: () => void;
  copyDid: () => void;
  copyList: () => void;
}

/** The details of the current DID. */
export function Details(props: IDetailsProps): JSX.Element {
  const { model, trans } = props;
  const { node, details } = model;
  if (!node) {
    return <p className="jp-RucioLab-hint">{trans.__('Select a row above to see its details.')}</p>;
  }
  const { acting, actor } = model.jobs;
  const isOurs = actor === node.did.did;
  const isStarting = isOurs && acting.isOpen;
  return (
    <div className="jp-RucioLab-details">
      <h4>{printable(node.did.did)}</h4>
      <div className="jp-RucioLab-actions">
        <Button className="jp-mod-styled jp-mod-accept jp-RucioLab-action" onClick={props.attach}>
          {trans.__('Attach…')}
        </Button>
        <Button
          className="jp-mod-styled jp-RucioLab-action"
          disabled={isStarting}
          onClick={props.download}
        >
          {trans.__('Download')}
        </Button>
        <Button className="jp-mod-styled jp-RucioLab-action" onClick={props.copyDid}>
          {trans.__('Copy DID')}
        </Button>
        <Button className="jp-mod-styled jp-RucioLab-action" onClick={props.copyList}>
          {trans.__('Copy list')}
        </Button>
      </div>
      {isOurs && acting.error && <Message role="alert" words={wordsOf(acting.error, trans)} />}
      <Facts did={{ ...node.did, ...details.did }} {...props} />
      <Wait
        asking={model.describing}
        whom={model.query.instance}
        trans={trans}
        retry={() => void model.look()}
      />
      <Replicas model={model} trans={trans} />
      <Choice model={model} trans={trans} />
      <Metadata model={model} trans={trans} />
    </div>
  );
}

function Facts({ did, trans }: IViewProps & { did: IDid }): JSX.Element {
  const types = {
    container: trans.__('container'),
    dataset: trans.__('dataset'),
    file: trans.__('file')
  };
  const state = did.open ? trans.__('open: can still grow') : trans.__('closed');
  const facts: [string, string | null][] = [
    [trans.__('Type'), did.open === null ? types[did.type] : `${types[did.type]}, ${state}`],
    [trans.__('Size'), did.bytes === null ? null : sizeText(did.bytes)],
    [trans.__('Files'), did.type === 'file' || did.length === null ? null : numberText(did.length)],
    ['Adler-32', did.adler32 && printable(did.adler32)],
    ['MD5', did.md5 && printable(did.md5)]
  ];
  return <Pairs pairs={facts} />;
}

function Replicas({ model, trans }: IViewProps): JSX.Element | null {
  const { locating, details, describing } = model;
  if (locating.phase !== 'done') {
    // one error is enough if both requests failed
    return describing.error ? null : (
      <Wait
        asking={locating}
        whom={model.query.instance}
        trans={trans}
        retry={() => void model.look()}
      />
    );
  }
  return (
    <>
      <h5>{trans.__('Replicas')}</h5>
      {details.holdings.length ? (
        <ReplicaTable model={model} trans={trans} />
      ) : (
        <p className="jp-RucioLab-hint">{trans.__('No RSE has a replica.')}</p>
      )}
    </>
  );
}

function ReplicaTable({ model, trans }: IViewProps): JSX.Element {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{trans.__('RSE')}</th>
          <th scope="col">{trans.__('Files')}</th>
          <th scope="col">{trans.__('Size')}</th>
        </tr>
      </thead>
      <tbody>
        {model.details.holdings.map(({ rse, files, available, bytes }) => (
          <tr key={rse}>
            <th scope="row">{printable(rse)}</th>
            <td
              title={trans.__('%1 of %2 are available', available, files)}
              className={available < files ? 'jp-mod-warn' : ''}
            >
              {available < files
                ? trans.__('%1 of %2', numberText(available), numberText(files))
                : numberText(files)}
            </td>
            <td>{sizeText(bytes)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Metadata({ model, trans }: IViewProps): JSX.Element | null {
  const pairs = metadataOf(model);
  return pairs.length ? (
    <>
      <h5>{trans.__('Metadata')}</h5>
      <Pairs pairs={pairs} />
    </>
  ) : null;
}

/** Metadata that is already shown above. */
const SHOWN = new Set([
  'scope',
  'name',
  'did_type',
  'bytes',
  'length',
  'is_open',
  'adler32',
  'md5'
]);

function metadataOf(model: LakeModel): [string, string][] {
  return Object.entries(model.details.did?.metadata ?? {})
    .filter(([key]) => !SHOWN.has(key))
    .map(([key, value]) => [
      printable(key),
      printable(typeof value === 'string' ? value : JSON.stringify(value))
    ]);
}
