import { readFileSync } from 'fs';
import { join } from 'path';

import { attachLine, isWritable, loads, pythonList, quote } from '../code';
import { assignedNames, faultOf, proposeName } from '../names';
import { VERSION } from '../version';
import { sizeText } from '../words';

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

  it('proposes no name that is taken', () => {
    expect(proposeName('a', new Set(['a', 'a_2']))).toBe('a_3');
  });

  it.each(['', '1a', 'a b', 'a-b', 'if', 'None', 'print', 'In', '_', '_i', '__name__', 'a;b'])(
    'refuses %j',
    name => {
      expect(faultOf(name)).not.toBeNull();
    }
  );

  it('finds the names that code makes', () => {
    const code = 'x = 1\n  y=2\nif z == 3: pass\n%rucio_attach a:b as files --instance i';
    expect(assignedNames(code)).toEqual(['x', 'y', 'files']);
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

  it('writes the line, with the instance where it is not the default', () => {
    expect(attachLine('a:b', 'x', null)).toBe('%rucio_attach a:b as x');
    expect(attachLine('a:b', 'x', 'my lake')).toBe("%rucio_attach a:b as x --instance 'my lake'");
  });

  it.each(['line\nbreak', 'a\u2028b', 'a\x85b', 'a\x00b'])('does not write %j', name => {
    expect(isWritable(name)).toBe(false);
  });

  it('knows the line that loads the magics', () => {
    expect(loads('import os\n%load_ext rucio_lab\n')).toBe(true);
    expect(loads('# %load_ext rucio_lab')).toBe(false);
    expect(loads('%load_ext rucio_labs')).toBe(false);
  });

  it('writes addresses as a Python list', () => {
    const file = (url: string) => ({ did: '', rse: '', url });
    expect(pythonList([file('root://a//b'), file('x"y\\z')])).toBe(
      '[\n    "root://a//b",\n    "x\\"y\\\\z",\n]'
    );
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

it('has the same version in all places', () => {
  const root = join(__dirname, '..', '..');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const python = readFileSync(join(root, '..', 'rucio_lab', '_version.py'), 'utf8');
  expect(version).toBe(VERSION);
  expect(python).toContain(`__version__ = "${VERSION}"`);
});
