import { TranslationBundle, nullTranslator } from '@jupyterlab/translation';
import { readFileSync } from 'fs';
import { join } from 'path';
import * as React from 'react';

import { Api, LakeError } from '../api';
import { Asking } from '../asking';
import { Choices } from '../choice';
import { Details } from '../components/details';
import { Header, Type } from '../components/header';
import { Jobs } from '../components/jobs';
import { Found } from '../components/tree';
import { LakeModel } from '../model';
import { did, instances, job, session, waiting } from './server';
import { textsOf } from './shown';

const plain = nullTranslator.load('rucio_lab');

/** A translation to a language without Latin letters: any that remain were not translated. */
const marking = {
  __: (...words: [string, ...unknown[]]) => hide(plain.__(...(words as [string]))),
  _n: (...words: [string, string, number]) => hide(plain._n(...words))
} as unknown as TranslationBundle;

function hide(text: string): string {
  return text.replace(/[A-Za-z]/g, '文');
}

const NEVER = new Set(['Adler-32', 'MD5', '5.00 kB', '1.00 kB']);

describe('translation', () => {
  let model: LakeModel;

  beforeEach(() => {
    model = new LakeModel(new Api());
    const its = session('signed_in', { account: '7', username: '7', expires: '2099-01-01' });
    model.known = instances(its);
    model.known.instances = ['1', '2'].map(name => ({
      name,
      url: '3',
      access: 'auto',
      session: its
    }));
    model.query = { instance: '1', scope: '4', text: '5', type: 'collection' };
    model.connecting.phase = 'done';
  });
  afterEach(() => model.dispose());

  async function expectTranslated(): Promise<void> {
    const all = {
      model,
      trans: marking,
      attach: noop,
      attachJob: noop,
      download: noop,
      copyDid: noop,
      copyList: noop,
      toTree: noop
    };
    const views = [Header, Type, Found, Details, Jobs].map(View => (
      <View key={View.name} {...all} />
    ));
    const shown = await textsOf(<>{views}</>);
    const texts = shown.filter(text => !NEVER.has(text.trim()));
    expect(texts.join('')).toContain('文');
    expect(texts.filter(text => /[A-Za-z]/.test(text))).toEqual([]);
  }

  const noop = () => undefined;
  const failed = (asking: Asking, code: string) => {
    asking.phase = 'failed';
    asking.error = new LakeError(code, '');
  };

  it.each<[string, () => void]>([
    ['a search', noop],
    ['no scope', () => (model.query.scope = '')],
    ['no text', () => (model.query.text = '')],
    ['nothing found', () => (model.found.asking.phase = 'done')],
    ['a wait', () => (model.found.asking.phase = 'loading')],
    ['a long wait', () => (model.found.asking.phase = 'slow')],
    ['a search given up', () => (model.found.asking.phase = 'cancelled')],
    ['a failure', () => failed(model.found.asking, 'cut')],
    ['no instance', () => (model.known = { ...instances(), instances: [], problems: ['6'] })],
    ['problems', () => (model.known!.problems = ['6', '8'])],
    [
      'storages',
      () => {
        const token = { source: '1', issuer: '2', audience: '3', expires: null };
        const proxy = { path: '1', subject: '2', expires: '2099-01-01', attributes: ['3'] };
        model.session!.storage = { token, proxy, ca: '4', problems: ['5', '6'] };
      }
    ],
    [
      'storages that are shown nothing',
      () => (model.session!.storage = { token: null, proxy: null, ca: '4', problems: [] })
    ],
    [
      'downloads',
      () => {
        const states = ['queued', 'running', 'waiting', 'done', 'cancelled', 'failed'] as const;
        const jobs = states.map((state, id) => ({ ...job(`${id}`, state), instance: '1' }));
        jest.spyOn(model.jobs, 'all', 'get').mockReturnValue(jobs);
        model.jobs.lost = new LakeError('cut', '');
      }
    ],
    ['no server', () => failed(model.connecting, 'no_server')],
    ['another version', () => (model.known!.version = '9')],
    ['signing in', () => (model.instance!.session = session('signed_out', { username: '7' }))],
    [
      'signing in by certificate',
      () => (model.instance!.session = session('signed_out', { auth: 'x509', fields: [] }))
    ],
    [
      'signing in at a page',
      () => (model.instance!.session = session('signed_out', { auth: 'oidc', fields: [] }))
    ],
    ['waiting for a page', () => (model.instance!.session = waiting({ url: 'http://1.2.3.4/' }))],
    [
      'waiting for a code',
      () => (model.instance!.session = waiting({ url: 'http://1.2.3.4/', wants_code: true }))
    ],
    ['automatic sign-in', () => (model.instance!.session = session('renewable'))]
  ])('covers %s', async (_, enter) => {
    enter();
    await expectTranslated();
  });

  it('covers results and details', async () => {
    const dids = [
      { ...did('1', 'container', '4'), bytes: 5000, open: true },
      did('2', 'dataset', '4')
    ];
    await model.found.load(async function* () {
      await Promise.resolve();
      yield dids;
      return { count: 2, more: true };
    });
    model.setCurrent(model.rows[0]);
    model.details = {
      did: { ...dids[0], length: 12, adler32: '1', md5: '2', metadata: { 6: 7 } },
      holdings: [{ rse: '9', files: 12, available: 3, bytes: 1000 }]
    };
    model.locating.phase = model.explaining.phase = 'done';
    model.choices = new Choices();
    const replicas = ['1', '2', '3'].map(rse => ({ rse, endpoint: '' }));
    const left = [{ rse: '4', endpoint: '5', reason: '6' }];
    const file = (name: string) => ({ did: name, url: '', rse: '1', replicas, left_out: left });
    model.choices.take([file('7'), file('8'), { ...file('9'), left_out: [] }]);
    model.choices.end({ count: 3, more: true, total: 9, missing: { 0: '1' }, notes: [] });
    await expectTranslated();
  });

  it('uses one domain for code and schema', () => {
    const schema = JSON.parse(
      readFileSync(join(__dirname, '..', '..', 'schema', 'commands.json'), 'utf8')
    ) as Record<string, { domain: string }>;
    expect(schema['jupyter.lab.internationalization'].domain).toBe('rucio_lab');
  });
});
