import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';
import * as fc from 'fast-check';
import * as React from 'react';

import { Api, LakeError } from '../api';
import { Choices } from '../choice';
import { attachLine, inlineCode, isWritable, pythonText } from '../code';
import { Details } from '../components/details';
import { Header } from '../components/header';
import { Jobs } from '../components/jobs';
import { Found } from '../components/tree';
import { ListCopier } from '../copy';
import { LakeModel } from '../model';
import { proposeName } from '../names';
import { isPrintable, printable } from '../text';
import { did, instances, job, session } from './server';
import { textsOf } from './shown';

/** Any text, with many hidden characters and characters that are special to Python, IPython and shells. */
const text = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(...'\n\r\x0b\x1b\x7f\x85\u200b\u2028\u202e\ud800\u{e0001}'),
      fc.constantFrom('"', "'", '\\', '#', '!x', '%x', '{x}', '$x', '?', '`', ' ', '--to=x')
    ),
    { maxLength: 8 }
  )
  .map(parts => parts.join(''));

describe('a text', () => {
  it('is shown on one line, with all characters visible', () => {
    fc.assert(
      fc.property(text, name => {
        expect(isPrintable(printable(name))).toBe(true);
        expect(printable(printable(name))).toBe(printable(name));
        expect(isPrintable(name)).toBe(printable(name) === name);
      })
    );
  });

  it('is one argument in a cell, or is not written', () => {
    fc.assert(
      fc.property(text, name => {
        const line = attachLine(`s:${name}`, 'files', null);
        expect(isPrintable(line)).toBe(isWritable(`s:${name}`));
      })
    );
  });

  it('is a one-line string in a cell', () => {
    fc.assert(
      fc.property(text, name => {
        expect(isPrintable(pythonText(name))).toBe(true);
      })
    );
  });

  it('adds no line to a cell', () => {
    fc.assert(
      fc.property(text, name => {
        const files = [{ did: name, rse: name, url: name, replicas: [], left_out: [] }];
        const listing = { files, total: 2, missing: { [name]: name }, notes: [name] };
        const code = inlineCode('x', { ...listing, count: 1, more: false });
        expect(code.split(/[^ -\u{10ffff}]|[\x85\u2028\u2029]/u)).toHaveLength(6);
      })
    );
  });

  it('makes a variable name with all characters visible', () => {
    fc.assert(
      fc.property(text, name => isPrintable(proposeName(`\u3164${name}\ufe0f`, new Set())))
    );
  });
});

/** A line break, a terminal escape sequence (clipboard), a change of writing direction, an invisible character. */
const HOSTILE = '\u2028\x1b]52;c;eA==\x07\u202e\u200b\u{e0001}\n';

/** Fields with values from the server itself. */
const FIXED = new Set(['state', 'type', 'auth', 'access', 'fields', 'waits_for', 'expires']);

/** Put hostile text into everything that comes from Rucio. */
function poison<T>(value: T): T {
  if (typeof value === 'string') {
    return `a${HOSTILE}b${value}` as T;
  }
  if (Array.isArray(value)) {
    return value.map(each => poison(each as unknown)) as T;
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const pairs = Object.entries(value as object);
  return Object.fromEntries(
    pairs.map(([key, each]) => [key, FIXED.has(key) ? (each as unknown) : poison(each as unknown)])
  ) as T;
}

describe('the page', () => {
  const trans = nullTranslator.load('rucio_lab');
  let model: LakeModel;

  beforeEach(() => {
    model = new LakeModel(new Api());
    const token = { source: '1', issuer: '2', audience: '3', expires: null };
    const proxy = { path: '1', subject: '2', expires: '2099-01-01', attributes: ['3'] };
    const storage = { token, proxy, ca: '4', problems: ['5'] };
    const its = session('signed_in', { account: '7', username: '7', storage });
    const known = instances(its);
    model.known = { ...poison({ ...known, problems: ['6'] }), version: known.version };
    model.query = poison({ instance: '', scope: '4', text: '5' }) as typeof model.query;
    model.query = { ...model.query, instance: model.known.instances[0].name, type: 'all' };
    model.connecting.phase = 'done';
  });
  afterEach(() => model.dispose());

  async function shown(): Promise<string> {
    const noop = () => undefined;
    const does = { attach: noop, attachJob: noop, download: noop, copyDid: noop, copyList: noop };
    const all = { model, trans, toTree: noop, ...does };
    const views = [Header, Found, Details, Jobs].map(View => <View key={View.name} {...all} />);
    const texts = await textsOf(<>{views}</>, 'svg');
    expect(texts.filter(each => !isPrintable(each))).toEqual([]);
    return texts.join('\n');
  }

  it('shows hidden characters in names, facts and messages', async () => {
    const states = ['queued', 'running', 'waiting', 'done', 'cancelled', 'failed'] as const;
    const jobs = states.map(state => poison({ ...job(state, state), message: 'said' }));
    jest.spyOn(model.jobs, 'all', 'get').mockReturnValue(jobs);
    model.jobs.lost = new LakeError('error', HOSTILE);
    const dids = [poison({ ...did('1', 'container', '4'), bytes: 5000, open: true })];
    await model.found.load(async function* () {
      await Promise.resolve();
      yield dids;
      return { count: 1, more: true };
    });
    model.setCurrent(model.rows[0]);
    model.details = poison({
      did: { ...dids[0], length: 12, adler32: '1', md5: '2', metadata: { key: 'x', other: ['y'] } },
      holdings: [{ rse: '9', files: 12, available: 3, bytes: 1000 }]
    });
    model.locating.phase = model.explaining.phase = 'done';
    model.choices = new Choices();
    const replicas = [{ rse: '1', endpoint: '2' }];
    const left_out = [{ rse: '4', endpoint: '5', reason: '6' }];
    model.choices.take([poison({ did: '7', url: '', rse: '1', replicas, left_out })]);
    const end = { count: 1, more: true, total: 9, missing: { 0: '1' }, notes: [] };
    model.choices.end(poison(end));
    const all = await shown();
    expect(all).toContain('\\u2028\\x1b]52;c;eA==\\x07\\u202e\\u200b\\U000e0001\\n');
  });

  it('shows hidden characters in errors', async () => {
    model.found.asking.phase = 'failed';
    model.found.asking.error = new LakeError('lake_broken', `a${HOSTILE}`, `b${HOSTILE}`);
    expect(await shown()).toContain('a\\u2028');
  });

  it('shows hidden characters in messages about copying', async () => {
    const said: string[] = [];
    for (const kind of ['warning', 'error', 'success'] as const) {
      jest.spyOn(Notification, kind).mockImplementation((...args) => {
        said.push(args[0]);
        return '';
      });
    }
    Object.assign(navigator, { clipboard: { writeText: () => Promise.resolve() } });
    const listing = { files: [], total: 1, missing: {}, notes: ['n'], count: 0, more: false };
    const resolve = jest.spyOn(model, 'resolve');
    const copier = new ListCopier(model, trans);
    resolve.mockResolvedValueOnce(poison(listing));
    await copier.copy('s:n');
    resolve.mockResolvedValueOnce(poison({ ...listing, missing: { a: 'why' } }));
    await copier.copy('s:n');
    resolve.mockRejectedValueOnce(new LakeError('error', HOSTILE, HOSTILE));
    await copier.copy('s:n');
    expect(said).toHaveLength(3);
    expect(said.filter(each => !isPrintable(each) || !each.includes('\\u202e'))).toEqual([]);
  });
});
