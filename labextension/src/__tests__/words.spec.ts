import { readFileSync } from 'fs';
import { join } from 'path';

import { nullTranslator } from '@jupyterlab/translation';

import { LakeError } from '../api';
import { attachLine, inlineCode, isWritable, loads, pythonList, quote, withoutOurs } from '../code';
import { assignedNames, attachedNames, faultOf, proposeName } from '../names';
import { VERSION } from '../version';
import { sizeText, wordsOf } from '../words';

describe('names', () => {
  it.each([
    ['GamGam.Data', 'GamGam_Data'],
    ['data_A.GamGam._0001.root', 'data_A_GamGam_0001_root'],
    ['/DoublePhoton/Run2012B-22Jan2013-v1/AOD', 'DoublePhoton_Run2012B_22Jan2013_v1_AOD'],
    ['2012', 'files_2012'],
    ['...', 'files'],
    ['print', 'print_files'],
    ['class', 'class_files'],
    ['open', 'open_files'],
    ["');import(os)#", 'import_os'],
    ['粒子', '粒子'],
    ['x'.repeat(100), 'x'.repeat(40)]
  ])('proposes for %j the variable %j', (name, variable) => {
    expect(proposeName(name, new Set())).toBe(variable);
    expect(faultOf(variable)).toBeNull();
  });

  it('does not propose a name that is taken', () => {
    expect(proposeName('a', new Set(['a', 'a_2']))).toBe('a_3');
  });

  it.each(['', '1a', 'a b', 'a-b', 'if', 'None', 'print', 'In', '_', '_i', '__name__', 'a;b'])(
    'refuses %j',
    name => {
      expect(faultOf(name)).not.toBeNull();
    }
  );

  it('finds the names that code assigns', () => {
    const code = 'x = 1\n  y=2\nif z == 3: pass\n%rucio_attach a:b as files --instance i';
    expect(assignedNames(code)).toEqual(['x', 'y', 'files']);
    expect(attachedNames(`${code}\n%rucio_attach a:bc as no`, 'a:b')).toEqual(['files']);
  });
});

describe('code', () => {
  it.each([
    ['sc:GamGam.Data', 'sc:GamGam.Data'],
    ['sc:two words', "'sc:two words'"],
    ["sc:it's", `'sc:it'"'"'s'`],
    ['sc:$HOME`id`', "'sc:$HOME`id`'"],
    ['sc:back\\slash', "'sc:back\\slash'"],
    ['sc:Ünï', "'sc:Ünï'"]
  ])('quotes %j as %s', (word, quoted) => {
    expect(quote(word)).toBe(quoted);
  });

  it('writes the line, with the instance if it is not the default', () => {
    expect(attachLine('a:b', 'x', null)).toBe('%rucio_attach a:b as x');
    expect(attachLine('a:b', 'x', 'my lake')).toBe("%rucio_attach a:b as x --instance 'my lake'");
    expect(attachLine('a:b', 'x', null, 'lake')).toBe('%rucio_attach a:b as x --access lake');
  });

  it.each(['line\nbreak', 'a\u2028b', 'a\x85b', 'a\x00b', 'a\u202eb', 'a\u200bb', '--to=x:y'])(
    'does not write %j',
    name => {
      expect(isWritable(name)).toBe(false);
    }
  );

  it('recognises the line that loads the magics', () => {
    expect(loads('import os\n%load_ext rucio_lab\n')).toBe(true);
    expect(loads('# %load_ext rucio_lab')).toBe(false);
    expect(loads('%load_ext rucio_labs')).toBe(false);
  });

  const listing = (urls: string[], missing: Record<string, string> = {}, notes: string[] = []) => ({
    files: urls.map(url => ({ did: '', rse: '', url, replicas: [], left_out: [] })),
    total: urls.length + Object.keys(missing).length,
    missing,
    notes,
    count: urls.length,
    more: false
  });

  it('writes addresses as a Python list', () => {
    expect(pythonList(listing(['root://a//b', 'x"y\\z']))).toBe(
      '[\n    "root://a//b",\n    "x\\"y\\\\z",\n]'
    );
  });

  it('leaves out what only rucio_lab can open, and says so', () => {
    const both = listing(['root://a//b', 'rucio://lake/sc/c'], { 'sc:b': 'lost' });
    both.files[1].did = 'sc:c';
    const { files, missing } = withoutOurs(both, 'not here');
    expect(files.map(file => file.url)).toEqual(['root://a//b']);
    expect(missing).toEqual({ 'sc:b': 'lost', 'sc:c': 'not here' });
  });

  it('writes missing files as comments, never as code', () => {
    const hostile = { 'sc:a\nimport os #': 'on tape\rimport os', 'sc:b': 'lost' };
    expect(inlineCode('x', listing(['u'], hostile, ['Two\nlines.']))).toBe(
      [
        '# 2 of 3 files cannot be read and are not in this list:',
        '#   "sc:a\\nimport os #": on tape\\rimport os',
        '#   "sc:b": lost',
        '# Two\\nlines.',
        'x = [',
        '    "u",',
        ']'
      ].join('\n')
    );
    const many = Object.fromEntries([...Array(7).keys()].map(number => [`sc:${number}`, 'lost']));
    expect(inlineCode('x', listing(['u'], many))).toContain('"sc:4": lost\n#   and 2 more\nx = [');
  });
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [4953566, '4.95 MB'],
  [99_999_999, '100 MB'],
  [133554897, '134 MB'],
  [1e15, '1.00 PB']
])('writes %d bytes as %s', (bytes, text) => {
  expect(sizeText(bytes)).toBe(text);
});

it('has the same version everywhere', () => {
  const root = join(__dirname, '..', '..');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const python = readFileSync(join(root, '..', 'rucio_lab', '_version.py'), 'utf8');
  expect(version).toBe(VERSION);
  expect(python).toContain(`__version__ = "${VERSION}"`);
});

describe('errors', () => {
  const trans = nullTranslator.load('rucio_lab');
  const remedy = (code: string, rucio: string | null = null) =>
    wordsOf(new LakeError(code, 'It failed.', 'Look with %rucio_search.', rucio), trans).remedy;

  it.each(['files_unavailable', 'not_found', 'sign_in_needed'])(
    'says for %s what can be done in the page',
    code => {
      expect(remedy(code)).toMatch(/^[A-Z][^%]+\.$/);
    }
  );

  it('uses the remedy of the server if the cause is outside the page', () => {
    expect(remedy('lake_unreachable')).toBe('Look with %rucio_search.');
    expect(remedy('not_found', 'ScopeNotFound')).toBe('Look with %rucio_search.');
  });

  it.each(['cut', 'expired', 'jupyter', 'network', 'signed_out'])('has words for %s', code => {
    const { message, remedy } = wordsOf(new LakeError(code, ''), trans);
    expect([message, remedy].join(' ')).toMatch(/^[A-Z].+\. [A-Z].+\.$/);
  });
});
