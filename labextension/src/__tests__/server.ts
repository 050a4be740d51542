/**
 * A real HTTP server for the tests, with answers that a test sets.
 */
import { ServerConnection } from '@jupyterlab/services';
import * as http from 'http';
import { AddressInfo } from 'net';

import { IDid, IInstances, IJob, IPending, ISession } from '../api';
import { VERSION } from '../version';

type Answer = (response: http.ServerResponse, query: URLSearchParams) => unknown;

export class TestServer {
  /** Route -> answer, such as `GET dids`. */
  readonly answers = new Map<string, Answer>();
  /** Requests so far, such as `GET dids?...`. */
  readonly asked: string[] = [];
  /** Bodies of the requests. */
  readonly bodies: string[] = [];
  /** Number of requests that the client aborted. */
  abandoned = 0;

  async start(): Promise<void> {
    this._server = http.createServer((request, response) => this._answer(request, response));
    await new Promise<void>(resolve => {
      this._server!.listen(0, '127.0.0.1', resolve);
    });
  }

  async stop(): Promise<void> {
    this._server!.closeAllConnections();
    await new Promise(resolve => this._server!.close(resolve));
  }

  get settings(): ServerConnection.ISettings {
    const { port } = this._server!.address() as AddressInfo;
    return ServerConnection.makeSettings({
      baseUrl: `http://127.0.0.1:${port}/`,
      appendToken: false,
      fetch,
      Request,
      Headers
    });
  }

  /** Answer a route with a list. */
  list(
    route: string,
    rows: unknown[],
    end: object = { end: true, count: rows.length, more: false }
  ): void {
    this.answers.set(`GET ${route}`, response => {
      response.end(
        [...rows.map(row => ({ row })), end].map(line => `${JSON.stringify(line)}\n`).join('')
      );
    });
  }

  /** Answer a route with one value. */
  json(route: string, value: unknown, status = 200): void {
    this.answers.set(route, response => {
      response.statusCode = status;
      response.end(JSON.stringify(value));
    });
  }

  private _answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const url = new URL(request.url!, 'http://localhost');
    const route = `${request.method} ${url.pathname.replace('/rucio-lab/', '')}`;
    this.asked.push(`${route}?${url.searchParams.toString()}`);
    response.on('close', () => {
      this.abandoned += response.writableFinished ? 0 : 1;
    });
    let body = '';
    request.on('data', chunk => (body += String(chunk)));
    request.on('end', () => {
      if (body) {
        this.bodies.push(body);
      }
      const answer = this.answers.get(route);
      if (!answer) {
        response.statusCode = 404;
        response.end('<html>Not found</html>');
        return;
      }
      answer(response, url.searchParams);
    });
  }

  private _server: http.Server | null = null;
}

export function did(name: string, type: IDid['type'] = 'dataset', scope = 'sc'): IDid {
  const unknown = { bytes: null, length: null, open: null, adler32: null, md5: null };
  return { did: `${scope}:${name}`, scope, name, type, ...unknown };
}

export function session(state: ISession['state'], more: Partial<ISession> = {}): ISession {
  return {
    instance: 'lake',
    state,
    auth: 'userpass',
    account: state === 'signed_in' ? 'me' : null,
    expires: null,
    renewed: false,
    username: 'me',
    fields: ['username', 'password'],
    storage: null,
    pending: null,
    failure: null,
    ...more
  };
}

export function job(id: string, state: IJob['state'] = 'running', more: Partial<IJob> = {}): IJob {
  return {
    id,
    dids: ['1:2'],
    instance: 'lake',
    state,
    active: ['queued', 'running', 'waiting'].includes(state),
    message: '',
    waits_for: state === 'waiting' ? 'sign_in' : '',
    folder: '/tmp',
    created: 0,
    updated: 0,
    files: 12,
    bytes: 4000,
    files_done: 3,
    bytes_done: 1000,
    files_failed: 1,
    rate: 50,
    seconds_left: 60,
    ...more
  };
}

/** A session that waits for the user at a page. */
export function waiting(more: Partial<IPending> = {}): ISession {
  const pending = { url: 'https://idp.example/auth?x=1', wants_code: false, seconds_left: 240 };
  return session('signed_out', { auth: 'oidc', fields: [], pending: { ...pending, ...more } });
}

export function instances(its: ISession = session('signed_in')): IInstances {
  return {
    version: VERSION,
    default: 'lake',
    instances: [{ name: 'lake', url: 'http://lake', access: 'auto', session: its }],
    problems: []
  };
}

/** Wait until a condition is true. */
export async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!holds()) {
    if (Date.now() > end) {
      throw new Error(`Not true in time: ${String(holds)}`);
    }
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
