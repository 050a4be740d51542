import { StateDB } from '@jupyterlab/statedb';

import { Api } from '../api';
import { LakeModel, patternOf } from '../model';
import { isNode } from '../tree';
import { TestServer, did, instances, session, until, waiting } from './server';

describe('LakeModel', () => {
  let server: TestServer;
  let model: LakeModel;
  let state: StateDB;

  beforeEach(async () => {
    server = new TestServer();
    await server.start();
    server.json('GET instances', instances());
    server.list('scopes', [{ scope: 'sc' }, { scope: 'user.me' }]);
    server.list('dids', [did('b10'), did('b9'), did('c', 'container')]);
    state = new StateDB();
    model = new LakeModel(new Api(server.settings), state);
  });
  afterEach(async () => {
    model.dispose();
    await server.stop();
  });

  const names = () => model.rows.map(row => (isNode(row) ? row.did.name : '...'));

  async function found(text = '*'): Promise<void> {
    await model.start();
    model.setText(text);
    await model.search();
  }

  it('chooses the default instance, and the only shared scope', async () => {
    await model.start();
    await until(() => model.query.scope === 'sc');
    expect(model.query.instance).toBe('lake');
  });

  it('searches while the user types, once for several letters', async () => {
    await model.start();
    for (const text of ['G', 'Ga', 'Gam']) {
      model.setText(text);
    }
    await until(() => model.found.asking.phase === 'done');
    const searches = server.asked.filter(asked => asked.startsWith('GET dids'));
    expect(searches).toHaveLength(1);
    expect(new URLSearchParams(searches[0].split('?')[1]).get('pattern')).toBe('sc:*Gam*');
  });

  it('sorts results: containers first, numbers as numbers', async () => {
    await found();
    expect(names()).toEqual(['c', 'b9', 'b10']);
  });

  it('replaces an old search with a new one', async () => {
    server.answers.set('GET dids', (response, query) => {
      const old = query.get('pattern') === 'sc:*old*';
      response.write(`${JSON.stringify({ row: did(old ? 'old' : 'new') })}\n`);
      if (!old) {
        response.end('{"end": true, "count": 1, "more": false}\n');
      }
    });
    await model.start();
    model.setText('old');
    void model.search();
    await until(() => names().includes('old'));
    model.setText('new');
    await model.search();
    expect(names()).toEqual(['new']);
    expect(model.found.asking.phase).toBe('done');
    await until(() => server.abandoned === 1);
  });

  it('keeps the rows of an answer that was cut, and reports it', async () => {
    server.answers.set('GET dids', response =>
      response.end(`${JSON.stringify({ row: did('a') })}\n`)
    );
    await found();
    expect(names()).toEqual(['a']);
    expect(model.found.asking.error?.code).toBe('cut');
  });

  it('reports a slow search, and stops it on request', async () => {
    server.answers.set('GET dids', () => undefined);
    await model.start();
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    model.setText('*');
    void model.search();
    const { asking } = model.found;
    expect(asking.phase).toBe('asking');
    jest.advanceTimersByTime(300);
    expect(asking.phase).toBe('loading');
    jest.advanceTimersByTime(4700);
    expect(asking.phase).toBe('slow');
    asking.cancel();
    expect(asking.phase).toBe('cancelled');
    jest.useRealTimers();
  });

  it('opens a collection in place, with only one request', async () => {
    server.list('contents', [did('f1', 'file'), did('f2', 'file')]);
    await found();
    const node = model.found.nodes[0];
    await model.toggle(node);
    expect(names()).toEqual(['c', 'f1', 'f2', 'b9', 'b10']);
    await model.toggle(node);
    await model.toggle(node);
    expect(server.asked.filter(asked => asked.startsWith('GET contents'))).toHaveLength(1);
  });

  it('shows that a collection is empty, or why it cannot be opened', async () => {
    server.list('contents', []);
    await found();
    await model.toggle(model.found.nodes[0]);
    expect(names()).toEqual(['c', '...', 'b9', 'b10']);
    server.json('GET contents', { error: 'lake_broken', message: 'No.', remedy: '' }, 502);
    await model.toggle(model.found.nodes[1]);
    expect(model.found.nodes[1].children!.asking.error?.message).toBe('No.');
    expect(names()).toEqual(['c', '...', 'b9', '...', 'b10']);
  });

  it('moves from the row that shows the state to the first result', async () => {
    server.list('contents', [did('f1', 'file')]);
    await found();
    const opening = model.toggle(model.found.nodes[0]);
    model.setCurrent(model.rows[1]);
    expect(model.node).toBeNull();
    await opening;
    expect(model.node?.did.name).toBe('f1');
  });

  it('loads the details of the current DID', async () => {
    server.json('GET did', { ...did('c', 'container'), length: 3, metadata: { events: 5 } });
    server.list('replicas', [{ rse: 'DISK', files: 3, available: 3, bytes: 9 }]);
    await found();
    model.setCurrent(model.rows[0]);
    await until(() => model.locating.phase === 'done' && model.describing.phase === 'done');
    expect(model.details.did?.metadata.events).toBe(5);
    expect(model.details.holdings[0].rse).toBe('DISK');
  });

  it('loads the choice of replicas on demand, and drops it with the DID', async () => {
    server.json('GET did', did('c', 'container'));
    server.list('replicas', []);
    await found();
    model.setCurrent(model.rows[0]);
    await until(() => model.describing.phase === 'done');
    expect(server.asked.join()).not.toContain('GET resolve');
    const replicas = [{ rse: 'DISK', endpoint: 'root://a' }];
    const file = { did: 'sc:a', url: 'root://a', rse: 'DISK', replicas, left_out: [] };
    const end = { end: true, count: 1, more: false, total: 1, missing: {}, notes: [] };
    server.list('resolve', [file], end);
    model.instance!.access = 'lake'; // which resolves later
    await model.explain();
    expect(model.choices?.rows).toMatchObject([{ fate: 'taken', rse: 'DISK', files: 1 }]);
    expect(server.asked.pop()).toContain('access=auto');
    model.setCurrent(model.rows[1]);
    expect([model.choices, model.explaining.phase]).toEqual([null, 'idle']);
  });

  it('keeps the current DID if a new search finds it again', async () => {
    server.json('GET did', did('b9'));
    server.list('replicas', []);
    await found();
    model.setCurrent(model.rows[1]);
    await until(() => model.details.did !== null);
    await model.search();
    expect([model.node?.did.name, model.details.did?.name]).toEqual(['b9', 'b9']);
    model.setCurrent(model.rows[2]);
    await model.search(); // before its details are requested
    await until(() => model.details.did !== null);
    server.list('dids', [did('other')]);
    await model.search();
    expect(model.node).toBeNull();
  });

  it('asks to sign in again when the sign-in expired', async () => {
    await found();
    server.json(
      'GET dids',
      { error: 'sign_in_needed', message: 'Sign in again.', remedy: '' },
      401
    );
    await model.search();
    expect(model.isReady).toBe(false);
    expect(model.rows).toHaveLength(0);
    expect(model.signInError?.message).toBe('Sign in again.');
  });

  it('signs in, and stores no credentials', async () => {
    server.json('GET instances', instances(session('signed_out')));
    await model.start();
    expect(model.isReady).toBe(false);
    server.json('POST session', session('signed_in'));
    await model.signIn({ username: 'me', password: 's3cret' });
    expect(model.isReady).toBe(true);
    await until(() => model.query.scope === 'sc');
    expect(JSON.stringify(await state.toJSON())).not.toContain('s3cret');
    expect(JSON.stringify(model.query)).not.toContain('s3cret');
  });

  it('stays signed out when the password is wrong', async () => {
    server.json('GET instances', instances(session('signed_out')));
    await model.start();
    server.json('POST session', { error: 'sign_in_needed', message: 'Wrong.', remedy: '' }, 401);
    await model.signIn({ username: 'me', password: 'x' });
    expect(model.isReady).toBe(false);
    expect(model.signingIn.error?.message).toBe('Wrong.');
  });

  it('notices when the first request has signed in', async () => {
    server.json('GET instances', instances(session('renewable')));
    server.json(
      'GET session',
      session('signed_in', { expires: new Date(Date.now() + 3.6e6).toISOString() })
    );
    await found();
    await until(() => model.session?.state === 'signed_in');
    expect(model.timeLeft).toBeGreaterThan(3.5e6);
  });

  const soon = (milliseconds: number) => new Date(Date.now() + milliseconds).toISOString();

  it('notices when a sign-in expires', async () => {
    server.json('GET instances', instances(session('signed_in', { expires: soon(200) })));
    await found();
    server.json('GET session', session('signed_out'));
    await until(() => !model.isReady);
    expect(model.signInError?.code).toBe('expired');
    expect(model.rows).toHaveLength(0);
  });

  it('does not send endless requests if the clocks differ', async () => {
    const its = session('signed_in', { expires: soon(-60_000) });
    server.json('GET instances', instances(its));
    server.json('GET session', its);
    await model.start();
    await model.checkSession();
    await new Promise(resolve => setTimeout(resolve, 500));
    expect(server.asked.filter(asked => asked.startsWith('GET session'))).toHaveLength(2);
    expect(model.isReady).toBe(true);
  });

  it('loads the credentials for storages once', async () => {
    const storage = { token: null, proxy: null, ca: 'Those.', problems: ['It ended.'] };
    server.json('GET session', session('signed_in', { storage }));
    await model.start();
    expect(model.session?.storage?.problems).toEqual(['It ended.']);
    await found();
    expect(server.asked.filter(asked => asked.startsWith('GET session'))).toHaveLength(2);
  });

  it('notices a sign-in or sign-out in another tab', async () => {
    server.json('GET session', session('signed_out'));
    await found();
    await model.checkSession();
    expect([model.isReady, model.signInError?.code]).toEqual([false, 'signed_out']);
    server.json('GET session', session('signed_in'));
    await model.checkSession();
    expect([model.isReady, model.signInError]).toEqual([true, null]);
    expect(names()).toEqual(['c', 'b9', 'b10']);
  });

  it('changes nothing if the server does not answer', async () => {
    await found();
    server.json('GET session', null, 502);
    await model.checkSession();
    expect(model.isReady).toBe(true);
  });

  it('returns the files that can be read, and reports the others', async () => {
    await found();
    const end = {
      end: true,
      count: 1,
      more: false,
      total: 2,
      missing: { 'sc:b': 'on tape' },
      notes: []
    };
    server.list('resolve', [{ did: 'sc:a', url: 'root://a', rse: 'DISK' }], end);
    const listing = await model.resolve('sc:c', 50, new AbortController().signal);
    expect(listing).toMatchObject({ total: 2, missing: { 'sc:b': 'on tape' } });
    expect(listing.files.map(file => file.url)).toEqual(['root://a']);
    const query = new URLSearchParams(server.asked.pop()!.split('?')[1]);
    expect([query.get('limit'), query.get('allow_missing')]).toEqual(['50', 'true']);
  });

  describe('signing in at a page', () => {
    const out = session('signed_out', { auth: 'oidc', fields: [] });
    const page = { show: jest.fn(), close: jest.fn() };
    const polls = () => server.asked.filter(asked => asked.startsWith('GET session')).length;

    beforeEach(async () => {
      jest.clearAllMocks();
      server.json('GET instances', instances(out));
      server.json('POST session', waiting());
      server.json('GET session', waiting());
      await model.start();
    });

    it('shows the page, and notices when the user has signed in', async () => {
      await model.beginSignIn(page);
      expect(page.show).toHaveBeenCalledWith('https://idp.example/auth?x=1');
      expect(server.bodies).toEqual(['{}']);
      server.json('GET session', session('signed_in', { auth: 'oidc' }));
      await until(() => model.isReady);
      await until(() => model.query.scope === 'sc' && polls() === 2); // and the credentials for storages were loaded
      await new Promise(resolve => setTimeout(resolve, 2500));
      expect(polls()).toBe(2); // and it has stopped
    });

    it('sends no requests before a sign-in starts or after it is cancelled', async () => {
      await new Promise(resolve => setTimeout(resolve, 2500));
      expect(polls()).toBe(0);
      await model.beginSignIn(page);
      server.json('DELETE session', out);
      await model.signOut();
      expect(model.waiting).toBeNull();
      await new Promise(resolve => setTimeout(resolve, 2500));
      expect(polls()).toBe(0);
    }, 10_000);

    it('closes the page and says why if there is nothing to show', async () => {
      server.json('POST session', { error: 'lake_broken', message: 'No.', remedy: '' }, 502);
      await model.beginSignIn(page);
      expect(page.close).toHaveBeenCalled();
      expect(page.show).not.toHaveBeenCalled();
      expect(model.whySignedOut?.message).toBe('No.');
    });

    it('continues to poll if the server is briefly unavailable', async () => {
      await model.beginSignIn(page);
      server.json('GET session', null, 502);
      await until(() => model.pollError !== null);
      server.json('GET session', session('signed_in', { auth: 'oidc' }));
      await until(() => model.isReady);
      expect(model.pollError).toBeNull();
    });

    it('says why the sign-in failed', async () => {
      await model.beginSignIn(page);
      const failure = { error: 'sign_in_needed', message: 'Too late.', remedy: '' };
      server.json('GET session', { ...out, failure });
      await until(() => model.waiting === null);
      expect(model.whySignedOut?.message).toBe('Too late.');
      await model.beginSignIn(page);
      expect(model.whySignedOut).toBeNull();
    });

    it('enters a code, and asks for another if it is wrong', async () => {
      server.json('POST session', waiting({ wants_code: true }));
      await model.beginSignIn(page, true);
      expect(server.bodies).toEqual(['{"by_code":true}']);
      server.json('POST session', { error: 'bad_request', message: 'Wrong.', remedy: '' }, 400);
      await model.signIn({ code: 's3cret' });
      expect([model.whySignedOut?.message, model.waiting?.wants_code]).toEqual(['Wrong.', true]);
      const signedIn = session('signed_in', { auth: 'oidc' });
      server.json('POST session', signedIn);
      server.json('GET session', signedIn);
      await model.signIn({ code: 'right' });
      expect(model.isReady).toBe(true);
      expect(server.asked.join()).not.toContain('s3cret');
      expect(JSON.stringify([await state.toJSON(), model.query])).not.toContain('s3cret');
    });
  });

  it('stores the search', async () => {
    await found('Gam');
    await model.setType('file');
    const again = new LakeModel(new Api(server.settings), state);
    await again.start();
    expect(again.query).toEqual({ instance: 'lake', scope: 'sc', text: 'Gam', type: 'file' });
    again.dispose();
  });

  it('sends no requests to a server extension of another version', async () => {
    server.json('GET instances', { ...instances(), version: '99.0' });
    await model.start();
    expect(model.isForeignVersion).toBe(true);
    expect(server.asked).toHaveLength(1);
  });

  it.each([
    ['GamGam', 'sc:*GamGam*'],
    [' GamGam ', 'sc:*GamGam*'],
    ['data_*.GamGam', 'sc:data_*.GamGam'],
    ['', null]
  ])('looks for %j by the pattern %j', (text, pattern) => {
    expect(patternOf({ instance: '', scope: 'sc', text, type: 'all' })).toBe(pattern);
  });

  it('takes the scope from a typed DID', async () => {
    await model.start();
    model.setText('user.me:mine');
    expect(model.query).toMatchObject({ scope: 'user.me', text: 'mine' });
    model.setText('a:b');
    expect(model.query).toMatchObject({ scope: 'user.me', text: 'a:b' });
  });
});
