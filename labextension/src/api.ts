/**
 * The typed REST interface of the server extension, see `rucio_lab/server/`.
 *
 * Lists are NDJSON; the last line marks a complete answer.
 */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export type DidType = 'container' | 'dataset' | 'file';

/** What to search for. */
export type SearchType = 'all' | 'collection' | DidType;

export interface ISession {
  instance: string;
  /** `renewable`: the next request signs in automatically. */
  state: 'signed_in' | 'renewable' | 'signed_out';
  auth: string;
  account: string | null;
  /** When the sign-in expires, as ISO 8601. */
  expires: string | null;
  /** Whether it is renewed automatically before it expires. */
  renewed: boolean;
  username: string;
  /** The fields that a sign-in needs. */
  fields: string[];
  /** The credentials for storages; null if the server did not check them. */
  storage: IStorage | null;
  /** A sign-in that waits for the user at the page of an identity provider. */
  pending: IPending | null;
  /** Why the last sign-in at such a page failed. */
  failure: IErrorBody | null;
}

/** The credentials for storages, without any secret. */
export interface IStorage {
  token: {
    source: string;
    issuer: string;
    audience: string;
    expires: string | null;
  } | null;
  proxy: {
    path: string;
    subject: string;
    expires: string;
    /** VOMS attributes. */
    attributes: string[];
  } | null;
  /** Description of the trusted CAs. */
  ca: string;
  /** Sentences about credentials that cannot be used. */
  problems: string[];
}

/** A sign-in that waits for the user at a page. */
export interface IPending {
  url: string;
  /** Whether the last page shows a code to enter here. */
  wants_code: boolean;
  seconds_left: number;
}

/** Ways to read files; `auto` chooses the best. */
export type Reading = 'auto' | 'stream' | 'mount' | 'lake';

/** Ways to attach files. */
export type Access = Reading | 'download';

export interface IInstance {
  name: string;
  url: string;
  /** How files are attached by default. */
  access: Access;
  session: ISession;
}

export interface IInstances {
  version: string;
  default: string | null;
  instances: IInstance[];
  /** Sentences about problems in the configuration. */
  problems: string[];
}

export interface IDid {
  did: string;
  scope: string;
  name: string;
  type: DidType;
  bytes: number | null;
  /** Number of files. */
  length: number | null;
  open: boolean | null;
  adler32: string | null;
  md5: string | null;
}

export interface IDescribedDid extends IDid {
  metadata: Record<string, unknown>;
}

/** A download in the background. */
export interface IJob {
  id: string;
  dids: string[];
  instance: string;
  state: 'queued' | 'running' | 'waiting' | 'done' | 'failed' | 'cancelled' | 'killed';
  /** Whether it has not ended. */
  active: boolean;
  /** A sentence that describes the state. */
  message: string;
  /** What a waiting job waits for: a sign-in to Rucio, credentials for storages, or Rucio. */
  waits_for: '' | 'sign_in' | 'credentials' | 'server';
  folder: string;
  /** Seconds since 1970: when it was created, and its last update. */
  created: number;
  updated: number;
  files: number | null;
  bytes: number | null;
  files_done: number;
  bytes_done: number;
  files_failed: number;
  /** Bytes per second. */
  rate: number;
  seconds_left: number | null;
}

/** A job that was removed from the list. */
export interface IForgotten {
  id: string;
  state: 'forgotten';
}

/** The replicas of a DID on one RSE. */
export interface IHolding {
  rse: string;
  files: number;
  available: number;
  bytes: number;
}

/** A file that can be read. */
export interface IResolvedFile {
  did: string;
  url: string;
  rse: string;
  /** Those that can be read; the first is used. */
  replicas: IReplica[];
  left_out: ILeftOut[];
}

export interface IReplica {
  rse: string;
  /** The server, as scheme://host:port; empty on a mounted RSE, and for a copy on this machine. */
  endpoint: string;
}

/** A replica that cannot be read, and why. */
export interface ILeftOut extends IReplica {
  reason: string;
}

/** The end of a list. */
export interface IEnd {
  count: number;
  /** Whether the server left some out. */
  more: boolean;
}

/** The end of a list of files that can be read. */
export interface IResolvedEnd extends IEnd {
  /** Number of files of the DID, including those that cannot be read. */
  total: number;
  /** Why files cannot be read: DID -> reason. */
  missing: Record<string, string>;
  /** Notes about the files. */
  notes: string[];
}

/** The files of a DID that can be read, and what is known about the others. */
export interface IListing extends IResolvedEnd {
  files: IResolvedFile[];
}

/** Credentials for a sign-in. At a page: none, whether the page should end with a code, or that code. */
export interface ICredentials {
  username?: string;
  password?: string;
  by_code?: boolean;
  code?: string;
}

/**
 * An error for users: what failed, and what to do about it.
 */
export class LakeError extends Error {
  /**
   * @param code - The server's name for the error, or one of ours: `no_server`, `jupyter`, `network`, `cut`.
   * @param message - What failed, and why.
   * @param remedy - What to do about it.
   * @param rucio - The name of Rucio's own error, if there was one.
   */
  constructor(
    readonly code: string,
    message: string,
    readonly remedy = '',
    readonly rucio: string | null = null
  ) {
    super(message);
  }

  /** Convert anything thrown to an error for users. */
  static of(error: unknown): LakeError {
    return error instanceof LakeError ? error : new LakeError('error', String(error));
  }
}

/** Rows in batches as they arrive; the return value is the end of the list. */
export type Rows<T, E extends IEnd = IEnd> = AsyncGenerator<T[], E, void>;

type Query = Record<string, string | string[]>;

/**
 * The server extension of rucio_lab.
 */
export class Api {
  constructor(
    private readonly settings: ServerConnection.ISettings = ServerConnection.makeSettings()
  ) {}

  /** The instances and their sessions. Sends no request to Rucio. */
  instances(signal?: AbortSignal): Promise<IInstances> {
    return this.json('instances', {}, { signal });
  }

  session(instance: string): Promise<ISession> {
    return this.json('session', { instance });
  }

  signIn(instance: string, credentials: ICredentials, signal?: AbortSignal): Promise<ISession> {
    const body = JSON.stringify(credentials);
    return this.json('session', { instance }, { method: 'POST', body, signal });
  }

  signOut(instance: string): Promise<ISession> {
    return this.json('session', { instance }, { method: 'DELETE' });
  }

  scopes(instance: string, signal: AbortSignal): Rows<{ scope: string }> {
    return this.list('scopes', { instance }, signal);
  }

  search(instance: string, pattern: string, type: SearchType, signal: AbortSignal): Rows<IDid> {
    return this.list('dids', { instance, pattern, type }, signal);
  }

  did(instance: string, did: string, signal: AbortSignal): Promise<IDescribedDid> {
    return this.json('did', { instance, did }, { signal });
  }

  contents(instance: string, did: string, signal: AbortSignal): Rows<IDid> {
    return this.list('contents', { instance, did }, signal);
  }

  replicas(instance: string, did: string, signal: AbortSignal): Rows<IHolding> {
    return this.list('replicas', { instance, did }, signal);
  }

  /**
   * The files of a DID that can be read, each with an address; a `limit` of 0 means all.
   *
   * @param access - How to read them; by default that of the instance.
   */
  resolve(
    instance: string,
    did: string,
    limit: number,
    signal: AbortSignal,
    access?: Reading
  ): Rows<IResolvedFile, IResolvedEnd> {
    const query: Query = { instance, did, allow_missing: 'true' };
    if (limit) {
      query.limit = String(limit);
    }
    if (access) {
      query.access = access;
    }
    return this.list('resolve', query, signal);
  }

  /** All jobs, then each job when it changes; does not end. An empty batch is a heartbeat. */
  follow(signal: AbortSignal): Rows<IJob | IForgotten> {
    return this.list('jobs', { follow: '1' }, signal);
  }

  /** Download a DID, unless that is already running. */
  download(instance: string, did: string): Promise<IJob> {
    return this.json(
      'jobs',
      { instance },
      { method: 'POST', body: JSON.stringify({ dids: [did] }) }
    );
  }

  /** Cancel a job, or remove one that has ended from the list. */
  endJob(id: string): Promise<IJob | IForgotten> {
    return this.json('job', { id }, { method: 'DELETE' });
  }

  retryJob(id: string): Promise<IJob> {
    return this.json('job', { id }, { method: 'POST' });
  }

  async jobLog(id: string): Promise<string> {
    return (await this.json<{ log: string }>('joblog', { id })).log;
  }

  private async json<T>(route: string, query: Query, init: RequestInit = {}): Promise<T> {
    const response = await this.request(route, query, init);
    return (await response.json()) as T;
  }

  private async *list<T, E extends IEnd = IEnd>(
    route: string,
    query: Query,
    signal: AbortSignal
  ): Rows<T, E> {
    return yield* readRows<T, E>(await this.request(route, query, { signal }));
  }

  private async request(route: string, query: Query, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this.settings.baseUrl, 'rucio-lab', route);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(`${url}?${encode(query)}`, init, this.settings);
    } catch (error) {
      throw new LakeError('network', (error as Error).message);
    }
    if (!response.ok) {
      throw await errorOf(response);
    }
    return response;
  }
}

/**
 * Read a whole list.
 *
 * @param rows - The list.
 * @param take - Called with each batch.
 * @returns The end of the list.
 */
export async function readAll<T, E extends IEnd>(
  rows: Rows<T, E>,
  take: (batch: T[]) => void
): Promise<E> {
  for (;;) {
    const step = await rows.next();
    if (step.done) {
      return step.value;
    }
    take(step.value);
  }
}

/** A row, or the last line with the end of the list or an error. */
interface ILine<T> {
  row?: T;
  /** A heartbeat. */
  beat?: boolean;
  end?: boolean;
  error?: IErrorBody;
}

/** An error from the server. */
export interface IErrorBody {
  error?: string;
  message?: string;
  remedy?: string;
  rucio?: string | null;
}

/**
 * Read NDJSON: batches of rows, then the end of the list.
 *
 * @throws LakeError with the server's error, or with code `cut` if the last line is missing.
 */
export async function* readRows<T, E extends IEnd = IEnd>(response: Response): Rows<T, E> {
  for await (const lines of readLines(response)) {
    const batch: T[] = [];
    for (const line of lines) {
      const parsed = parse<T>(line);
      if (parsed.row !== undefined) {
        batch.push(parsed.row);
        continue;
      }
      if (parsed.beat) {
        continue;
      }
      if (batch.length) {
        yield batch;
      }
      if (parsed.end) {
        return parsed as unknown as E;
      }
      throw lakeError(parsed.error ?? {});
    }
    yield batch;
  }
  throw cut();
}

async function* readLines(response: Response): AsyncGenerator<string[]> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await read(reader);
      if (done) {
        return;
      }
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
      rest = lines.pop()!;
      if (lines.length) {
        yield lines;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function read(
  reader: ReadableStreamDefaultReader<Uint8Array>
): Promise<ReadableStreamReadResult<Uint8Array>> {
  try {
    return await reader.read();
  } catch {
    throw cut(); // the connection broke
  }
}

function parse<T>(line: string): ILine<T> {
  try {
    return JSON.parse(line) as ILine<T>;
  } catch {
    throw cut();
  }
}

function cut(): LakeError {
  return new LakeError('cut', '');
}

async function errorOf(response: Response): Promise<LakeError> {
  let body: IErrorBody = {};
  try {
    body = ((await response.json()) ?? {}) as IErrorBody;
  } catch {
    // A proxy or Jupyter itself answered with HTML.
  }
  if (typeof body.error === 'string') {
    return lakeError(body);
  }
  const code = { 403: 'jupyter', 404: 'no_server' }[response.status];
  return new LakeError(code ?? 'error', `${response.status} ${response.statusText}`);
}

/** Return the error that the server describes. */
export function lakeError(body: IErrorBody): LakeError {
  const { error = 'error', message = '', remedy = '', rucio = null } = body;
  return new LakeError(error, message, remedy, rucio);
}

function encode(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const each of [value].flat()) {
      parameters.append(key, each);
    }
  }
  return parameters.toString();
}
