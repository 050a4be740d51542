/**
 * The downloads, updated live.
 */
import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IJob, LakeError } from '../api';
import { LakeModel } from '../model';
import { printable } from '../text';
import { numberText, sizeText, timeText, wordsOf } from '../words';
import { Action, IViewProps, Message } from './common';

export interface IJobsProps extends IViewProps {
  attachJob: (job: IJob) => void;
}

/** All downloads. */
export function Jobs(props: IJobsProps): JSX.Element {
  const { model, trans } = props;
  const { all, lost, acting, actor } = model.jobs;
  return (
    <div className="jp-RucioLab-jobs">
      {lost && (
        <Message
          role="status"
          words={{
            message: trans.__(
              'The connection was lost, so this list may be out of date. Trying again…'
            ),
            remedy: wordsOf(lost, trans).message
          }}
        />
      )}
      {acting.error && all.some(job => job.id === actor) && (
        <Message role="alert" words={wordsOf(acting.error, trans)} />
      )}
      {!all.length && !lost && (
        <p className="jp-RucioLab-hint">
          {trans.__('No downloads. Select a row above and press Download.')}
        </p>
      )}
      <ul>
        {all.map(job => (
          <Job key={job.id} {...props} job={job} />
        ))}
      </ul>
    </div>
  );
}

function Job(props: IJobsProps & { job: IJob }): JSX.Element {
  const { job, trans } = props;
  const what = printable(job.dids.join(', '));
  return (
    <li>
      <span
        className="jp-RucioLab-rse"
        title={trans.__('From %1 to %2', ...[job.instance, job.folder].map(printable))}
      >
        {what}
      </span>
      {job.active && (job.state !== 'waiting' || job.bytes !== null) && (
        <progress
          aria-label={trans.__('Download of %1', what)}
          max={job.bytes ?? undefined}
          value={job.bytes === null ? undefined : job.bytes_done}
        />
      )}
      <span className="jp-RucioLab-remedy">{progressText(job, trans)}</span>
      <span role={job.state === 'running' ? undefined : 'status'}>{stateText(job, trans)}</span>
      <JobActions {...props} />
    </li>
  );
}

function JobActions({ job, model, trans, attachJob }: IJobsProps & { job: IJob }): JSX.Element {
  const { jobs } = model;
  const canAttach = job.state === 'done' && job.dids.length === 1;
  return (
    <div className="jp-RucioLab-actions">
      {job.waits_for === 'sign_in' && needsSignIn(job, model) && (
        <Action label={trans.__('Sign in…')} onClick={() => void model.setInstance(job.instance)} />
      )}
      {canAttach && <Action label={trans.__('Attach…')} onClick={() => attachJob(job)} />}
      {!job.active && job.state !== 'done' && (
        <Action label={trans.__('Try again')} onClick={() => void jobs.retry(job.id)} />
      )}
      {job.active ? (
        <Action label={trans.__('Cancel')} onClick={() => void jobs.end(job.id)} />
      ) : (
        <Action
          label={trans.__('Remove')}
          title={trans.__('Remove from this list; the files are kept')}
          onClick={() => void jobs.end(job.id)}
        />
      )}
      <Action label={trans.__('Log')} onClick={() => void showLog(job, model, trans)} />
    </div>
  );
}

/** Whether the sign-in form is not already shown above. */
function needsSignIn(job: IJob, { query, isReady }: LakeModel): boolean {
  return isReady || query.instance !== job.instance;
}

async function showLog(job: IJob, model: LakeModel, trans: TranslationBundle): Promise<void> {
  let text: string;
  try {
    text = await model.jobs.log(job.id);
  } catch (error) {
    text = wordsOf(LakeError.of(error), trans).message;
  }
  await showDialog({
    title: trans.__('Log of the download'),
    body: ReactWidget.create(
      <pre className="jp-RucioLab-log" tabIndex={0}>
        {text.split('\n').map(printable).join('\n')}
      </pre>
    ),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}

/** The progress: 3 of 12 files · 1.2 GB of 4.5 GB · 35 MB/s · 2 min left. */
function progressText(job: IJob, trans: TranslationBundle): string {
  if (job.files === null || job.bytes === null) {
    return '';
  }
  if (job.state === 'done') {
    return trans._n(
      '%2 file, %3',
      '%2 files, %3',
      job.files,
      numberText(job.files),
      sizeText(job.bytes)
    );
  }
  const parts = [
    trans._n(
      '%2 of %3 file',
      '%2 of %3 files',
      job.files,
      numberText(job.files_done),
      numberText(job.files)
    ),
    trans.__('%1 of %2', sizeText(job.bytes_done), sizeText(job.bytes))
  ];
  if (job.files_failed) {
    parts.push(trans.__('%1 failed', numberText(job.files_failed)));
  }
  if (job.state === 'running' && job.rate > 0) {
    parts.push(trans.__('%1/s', sizeText(job.rate)));
  }
  if (job.state === 'running' && job.seconds_left !== null) {
    parts.push(trans.__('%1 left', timeText(job.seconds_left * 1000, trans)));
  }
  return parts.join(' · ');
}

function stateText(
  { state, message, instance, folder, waits_for }: IJob,
  trans: TranslationBundle
): string {
  const words: Partial<Record<IJob['state'], string>> = {
    queued: trans.__('Waiting for its turn.'),
    done: trans.__('Downloaded to %1.', printable(folder)),
    cancelled: trans.__('Cancelled; what was downloaded is kept.')
  };
  if (waits_for === 'sign_in') {
    return trans.__('Waiting for you to sign in to %1.', printable(instance));
  }
  return words[state] ?? printable(message);
}
