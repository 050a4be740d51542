import { IResolvedFile } from '../api';
import { Choices } from '../choice';

describe('Choices', () => {
  const at = (rse: string, endpoint = 'root://host:1094') => ({ rse, endpoint });
  const tape = { ...at('TAPE'), reason: 'on tape' };
  const file = (name: string, more: Partial<IResolvedFile> = {}): IResolvedFile => ({
    did: `sc:${name}`,
    url: '',
    rse: 'DISK',
    replicas: [at('DISK'), at('FAR')],
    left_out: [tape],
    ...more
  });
  const end = { count: 3, more: false, total: 4, missing: { 'sc:d': 'lost' }, notes: [] };

  it('groups files with the same result', () => {
    const choices = new Choices();
    choices.take([file('a'), file('b')]);
    choices.take([file('c', { replicas: [at('MOUNTED', '')], left_out: [tape, tape] })]);
    choices.end(end);
    expect(choices.rows.map(row => [row.fate, row.rse, row.files, row.example, row.why])).toEqual([
      ['taken', 'DISK', 2, 'sc:a', ''],
      ['taken', 'MOUNTED', 1, 'sc:c', ''],
      ['in reserve', 'FAR', 2, 'sc:a', ''],
      ['left out', 'TAPE', 3, 'sc:a', 'on tape'],
      ['missing', '', 1, 'sc:d', 'lost']
    ]);
    expect([choices.total, choices.more]).toEqual([4, false]);
  });

  it('reports that there are more files', () => {
    const choices = new Choices();
    choices.take([file('a')]);
    choices.end({ ...end, total: 20_000, missing: {} });
    expect([choices.total, choices.more]).toEqual([1, true]);
  });
});
