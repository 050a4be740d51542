import { Api, IDid, LakeError, readAll } from '../api';
import { TestServer, did, until } from './server';

describe('Api', () => {
  const server = new TestServer();
  let api: Api;

  beforeAll(async () => {
    await server.start();
    api = new Api(server.settings);
  });
  afterAll(() => server.stop());

  async function search(signal = new AbortController().signal): Promise<[IDid[], unknown]> {
    const rows: IDid[] = [];
    const end = await readAll(api.search('lake', 'sc:*', 'all', signal), batch =>
      rows.push(...batch)
    );
    return [rows, end];
  }

  async function failure(work: Promise<unknown>): Promise<LakeError> {
    const error: unknown = await work.then(
      () => null,
      (reason: unknown) => reason
    );
    expect(error).toBeInstanceOf(LakeError);
    return error as LakeError;
  }

  it('reads a whole list, and whether there are more rows', async () => {
    server.list('dids', [did('a'), did('b')], { end: true, count: 2, more: true });
    const [rows, end] = await search();
    expect(rows.map(row => row.name)).toEqual(['a', 'b']);
    expect(end).toMatchObject({ count: 2, more: true });
  });

  it('sends names with any characters unchanged', async () => {
    const odd = 'sc:ä b&c=d#e?f+g%20';
    server.answers.set('GET did', (response, query) => {
      response.end(JSON.stringify({ did: query.get('did') }));
    });
    const answer = await api.did('lake', odd, new AbortController().signal);
    expect(answer.did).toBe(odd);
  });

  it('joins characters that are split between two packets', async () => {
    const bytes = Buffer.from(
      `${JSON.stringify({ row: did('粒子') })}\n{"end": true, "count": 1, "more": false}\n`
    );
    const middle = bytes.indexOf(Buffer.from('粒')) + 1;
    server.answers.set('GET dids', async response => {
      response.write(bytes.subarray(0, middle));
      await new Promise(resolve => setTimeout(resolve, 30));
      response.end(bytes.subarray(middle));
    });
    const [rows] = await search();
    expect(rows[0].name).toBe('粒子');
  });

  it.each([
    ['without a last line', `{"row": {"name": "a"}}\n`],
    ['within a line', `{"row": {"name": "a"}}\n{"row": {"na`],
    ['at once', ''],
    ['with rubbish', 'Bad gateway\n']
  ])('tells a list that ends %s from a whole one', async (_, text) => {
    server.answers.set('GET dids', response => response.end(text));
    expect((await failure(search())).code).toBe('cut');
  });

  it('treats a broken connection as a cut answer', async () => {
    server.answers.set('GET dids', response => {
      response.write(`{"row": {"name": "a"}}\n`);
      setTimeout(() => response.destroy(), 20);
    });
    expect((await failure(search())).code).toBe('cut');
  });

  it('returns the rows before an error line, then the error', async () => {
    const error = { error: 'lake_broken', message: 'It broke.', remedy: 'Mend it.', rucio: 'Oh' };
    server.list('dids', [did('a')], { end: false, error });
    const rows: IDid[] = [];
    const list = api.search('lake', 'sc:*', 'all', new AbortController().signal);
    const told = await failure(readAll(list, batch => rows.push(...batch)));
    expect(told).toMatchObject({
      code: 'lake_broken',
      message: 'It broke.',
      remedy: 'Mend it.',
      rucio: 'Oh'
    });
    expect(rows).toHaveLength(1);
  });

  it.each([
    [401, { error: 'sign_in_needed', message: 'Sign in.', remedy: '' }, 'sign_in_needed'],
    [404, { error: 'not_found', message: 'No scope.', remedy: '' }, 'not_found'],
    [404, { message: 'Not Found', reason: null }, 'no_server'],
    [403, { message: 'Forbidden' }, 'jupyter'],
    [502, null, 'error']
  ])('reads the error of a %d with %j', async (status, body, code) => {
    server.json('GET dids', body, status);
    expect((await failure(search())).code).toBe(code);
  });

  it('reports when there is no answer', async () => {
    const gone = new TestServer();
    await gone.start();
    const lost = new Api(gone.settings);
    await gone.stop();
    expect((await failure(lost.instances())).code).toBe('network');
  });

  it('stops the server when aborted', async () => {
    server.answers.set('GET dids', response => response.write(`{"row": {"name": "a"}}\n`));
    const before = server.abandoned;
    const controller = new AbortController();
    const searching = failure(search(controller.signal));
    await new Promise(resolve => setTimeout(resolve, 50));
    controller.abort();
    await searching;
    await until(() => server.abandoned === before + 1);
  });

  it('sends a password only in the body', async () => {
    server.json('POST session', {});
    await api.signIn('lake', { username: 'me', password: 's3cret' });
    expect(JSON.parse(server.bodies.pop()!)).toEqual({ username: 'me', password: 's3cret' });
    expect(server.asked.join()).not.toContain('s3cret');
  });
});
