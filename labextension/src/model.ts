/**
 * The state of the sidebar, shown by all views and changed by all commands.
 */
import { VDomModel } from '@jupyterlab/ui-components';
import { IStateDB } from '@jupyterlab/statedb';
import { Debouncer } from '@lumino/polling';

import {
  Api,
  ICredentials,
  IDescribedDid,
  IHolding,
  IInstance,
  IInstances,
  IListing,
  IPending,
  IResolvedFile,
  ISession,
  LakeError,
  Reading,
  SearchType,
  lakeError,
  readAll
} from './api';
import { Asking } from './asking';
import { Choices } from './choice';
import { JobsModel } from './jobs';
import { Branch, INode, Row, isCollection, isNode } from './tree';
import { VERSION } from './version';

const STATE_KEY = 'rucio-lab:search';
const TYPING_MS = 300;
const LOOKING_MS = 200;
const TICK_MS = 30_000;
const POLL_MS = 2000;
/** Maximum number of files to explain the replicas of. */
const MOST_EXPLAINED = 10_000;
/** The server's clock may be a little behind. */
const GRACE_MS = 200;

/** What is stored between visits; never a credential. */
export interface IQuery {
  instance: string;
  scope: string;
  text: string;
  type: SearchType;
}

/** The details of the current DID. */
export interface IDetails {
  did: IDescribedDid | null;
  holdings: IHolding[];
}

/**
 * Return the pattern of a search; a text without a wildcard can be anywhere in the name.
 *
 * @returns Scope and name, or null if one of them is missing.
 */
export function patternOf(query: IQuery): string | null {
  const name = query.text.trim();
  if (!name || !query.scope) {
    return null;
  }
  return `${query.scope}:${name.includes('*') ? name : `*${name}*`}`;
}

/** A browser tab for the page of an identity provider. */
export interface IPage {
  show: (url: string) => void;
  close: () => void;
}

/**
 * The model of the sidebar.
 */
export class LakeModel extends VDomModel {
  /** Reading the list of instances. */
  readonly connecting = new Asking();
  /** Signing in. */
  readonly signingIn = new Asking();
  /** The search results. */
  readonly found: Branch;
  /** The two requests for details of the current DID. */
  readonly describing = new Asking();
  readonly locating = new Asking();
  /** The request for the choice of its replicas. */
  readonly explaining = new Asking();
  /** The downloads. */
  readonly jobs: JobsModel;

  known: IInstances | null = null;
  scopes: string[] = [];
  query: IQuery = { instance: '', scope: '', text: '', type: 'collection' };
  details: IDetails = { did: null, holdings: [] };
  choices: Choices | null = null;
  /** Why the user is no longer signed in. */
  signInError: LakeError | null = null;
  /** Why the last check of the session failed. */
  pollError: LakeError | null = null;

  constructor(
    readonly api: Api,
    private readonly state: IStateDB | null = null
  ) {
    super();
    const changed = () => this._changed();
    this.found = new Branch(null, changed);
    for (const asking of this._askings()) {
      asking.changed.connect(changed);
    }
    this._scoping.changed.connect(changed);
    this.jobs = new JobsModel(api);
    this.jobs.changed.connect(changed);
    this._arm();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    window.clearTimeout(this._ticker);
    this._typing.dispose();
    this._looking.dispose();
    this.found.clear();
    this.jobs.dispose();
    [...this._askings(), this._scoping].forEach(asking => asking.stop());
    super.dispose();
  }

  // ------------------------------------------------------------------ state for the views

  get instance(): IInstance | null {
    const { known, query } = this;
    return known?.instances.find(each => each.name === query.instance) ?? null;
  }

  get session(): ISession | null {
    return this.instance?.session ?? null;
  }

  /** Whether requests to Rucio are possible. */
  get isReady(): boolean {
    return !!this.session && this.session.state !== 'signed_out';
  }

  /** The sign-in that waits for the user at a page. */
  get waiting(): IPending | null {
    return this.session?.state === 'signed_out' ? this.session.pending : null;
  }

  /** Why the user has to sign in, or why that failed; null if there is no error. */
  get whySignedOut(): LakeError | null {
    const failure = this.session?.failure;
    return this.signingIn.error ?? this.signInError ?? (failure ? lakeError(failure) : null);
  }

  /** Whether the server extension has another version. */
  get isForeignVersion(): boolean {
    return !!this.known && this.known.version !== VERSION;
  }

  get pattern(): string | null {
    return patternOf(this.query);
  }

  /** Time until the sign-in expires, in ms; null if it does not. */
  get timeLeft(): number | null {
    const expires = this.session?.expires;
    return expires ? Math.max(0, Date.parse(expires) - Date.now()) : null;
  }

  /** All rows of the tree, from top to bottom. */
  get rows(): readonly Row[] {
    if (!this._rows) {
      this._rows = [];
      this.found.appendTo(this._rows);
    }
    return this._rows;
  }

  /** Index of the current row; -1 if there is none. */
  get currentIndex(): number {
    return this.rows.findIndex(row => row.key === this._current);
  }

  /** The current row. */
  get current(): Row | null {
    return this.rows[this.currentIndex] ?? null;
  }

  /** The current row, if it is a DID. */
  get node(): INode | null {
    const row = this.current;
    return row && isNode(row) ? row : null;
  }

  // ------------------------------------------------------------------ instances and sign-in

  /** Restore the last search, and connect. */
  async start(): Promise<void> {
    const remembered = await this.state?.fetch(STATE_KEY);
    if (remembered) {
      Object.assign(this.query, remembered);
    }
    await this.connect();
  }

  /** Read the instances, and search. */
  async connect(): Promise<void> {
    await this.connecting.ask(async signal => {
      const known = await this.api.instances(signal);
      if (signal.aborted) {
        return;
      }
      this.known = known;
      if (!this.instance) {
        const first = known.default ?? known.instances[0]?.name ?? '';
        this.query = { ...this.query, instance: first };
      }
    });
    await this._enter();
  }

  async setInstance(instance: string): Promise<void> {
    this._setQuery({ instance, scope: '' });
    this.scopes = [];
    this.signInError = null;
    this.pollError = null;
    this.signingIn.reset();
    await this._enter();
  }

  async signIn(credentials: ICredentials): Promise<void> {
    await this._send(credentials);
    await this._enter();
  }

  /**
   * Start a sign-in at the page of an identity provider.
   *
   * @param page - The tab to show it in.
   * @param byCode - Whether it should end with a code.
   */
  async beginSignIn(page: IPage, byCode = false): Promise<void> {
    const session = await this._send(byCode ? { by_code: true } : {});
    if (session?.pending) {
      page.show(session.pending.url);
    } else {
      page.close();
    }
  }

  /** Check the session, because it can expire and other tabs sign in and out. */
  async checkSession(): Promise<void> {
    const old = this.session;
    if (!old || this.signingIn.isOpen || this.isForeignVersion) {
      return;
    }
    let session: ISession;
    try {
      session = await this.api.session(old.instance);
    } catch (error) {
      this.pollError = LakeError.of(error);
      return; // the next request will report why
    }
    this.pollError = null;
    if (old !== this.session || this.signingIn.isOpen) {
      return; // the user has done something meanwhile
    }
    const { isReady, timeLeft, waiting } = this;
    this._setSession(session);
    if (waiting && !this.waiting) {
      this.signingIn.reset(); // a wrong code no longer matters
    }
    if (isReady && !this.isReady) {
      this.signInError = new LakeError(timeLeft === 0 ? 'expired' : 'signed_out', '');
      this._clear();
    } else if (!isReady && this.isReady) {
      this.signInError = null;
      await this._enter();
    }
  }

  async signOut(): Promise<void> {
    this._clear();
    await this.signingIn.ask(async () =>
      this._setSession(await this.api.signOut(this.query.instance))
    );
  }

  // ------------------------------------------------------------------ search

  async setScope(scope: string): Promise<void> {
    this._setQuery({ scope });
    await this.search();
  }

  async setType(type: SearchType): Promise<void> {
    this._setQuery({ type });
    await this.search();
  }

  /** Search while the user types. A text that starts with a known scope and a colon sets the scope. */
  setText(text: string): void {
    const [scope, ...rest] = text.trimStart().split(':');
    const isDid = rest.length > 0 && this.scopes.includes(scope);
    this._setQuery(isDid ? { scope, text: rest.join(':') } : { text });
    void this._typing.invoke();
  }

  /** Search now, and drop the previous search. The current DID stays current if it is found again. */
  async search(): Promise<void> {
    void this._typing.stop();
    const { pattern, query } = this;
    if (!pattern || !this.isReady) {
      this.found.clear();
      this.found.asking.reset();
      return;
    }
    await this.found.load(signal => this.api.search(query.instance, pattern, query.type, signal));
    if (this.node && this.describing.phase === 'idle') {
      void this.look(); // it was chosen just before the previous results were dropped
    }
    await this._noteSession(this.found.asking);
  }

  /**
   * Get the addresses of the files of a DID.
   *
   * @param limit - Maximum number of files; 0 for all.
   * @param access - How to read them; by default that of the instance.
   * @throws LakeError if there are no files, or the request fails.
   */
  async resolve(
    did: string,
    limit: number,
    signal: AbortSignal,
    access?: Reading
  ): Promise<IListing> {
    const files: IResolvedFile[] = [];
    try {
      const rows = this.api.resolve(this.query.instance, did, limit, signal, access);
      const end = await readAll(rows, batch => files.push(...batch));
      return { ...end, files };
    } catch (error) {
      this._noteError(LakeError.of(error));
      throw error;
    }
  }

  /** Reload everything. */
  async refresh(): Promise<void> {
    this.scopes = [];
    await this.connect();
  }

  // ------------------------------------------------------------------ the tree

  /** Open or close a container or dataset. */
  async toggle(node: INode, open = !node.isOpen): Promise<void> {
    if (!isCollection(node.did) || node.isOpen === open) {
      return;
    }
    node.isOpen = open;
    node.children ??= new Branch(node, () => this._changed());
    this._changed();
    const { phase } = node.children.asking;
    if (open && !['done', 'asking', 'loading', 'slow'].includes(phase)) {
      await this.reload(node);
    }
  }

  /** Reload the contents of a container or dataset. */
  async reload(node: INode): Promise<void> {
    const { instance } = this.query;
    const children = node.children!;
    await children.load(signal => this.api.contents(instance, node.did.did, signal));
    if (this._current === children.remarkKey && children.nodes.length) {
      this.setCurrent(children.nodes[0]); // the row that showed the state no longer exists
    }
    await this._noteSession(children.asking);
  }

  /** Make a row the current one; the details of its DID are loaded. */
  setCurrent(row: Row | null): void {
    if (row?.key !== this._current) {
      this._look(row);
    }
  }

  /** Load the details of the current DID. */
  async look(): Promise<void> {
    const { node } = this;
    if (!node) {
      return;
    }
    const { instance } = this.query;
    const did = node.did.did;
    const details: IDetails = { did: null, holdings: [] };
    this.details = details;
    const describing = this.describing.ask(async signal => {
      details.did = await this.api.did(instance, did, signal);
    });
    const locating = this.locating.ask(async signal => {
      const rows = this.api.replicas(instance, did, signal);
      await readAll(rows, batch => details.holdings.push(...batch));
    });
    await Promise.all([describing, locating]);
    await this._noteSession(this.describing);
  }

  /** Load the choice of replicas for the current DID. */
  async explain(): Promise<void> {
    const { node, instance } = this;
    if (!node || !instance) {
      return;
    }
    const { access, name } = instance;
    // these resolve later, so they have no choice to show
    const how = access === 'lake' || access === 'download' ? 'auto' : access;
    await this.explaining.ask(async signal => {
      const choices = new Choices();
      const files = this.api.resolve(name, node.did.did, MOST_EXPLAINED, signal, how);
      choices.end(await readAll(files, batch => choices.take(batch)));
      if (!signal.aborted) {
        this.choices = choices;
      }
    });
    await this._noteSession(this.explaining);
  }

  /** Download the current DID. */
  async download(): Promise<void> {
    if (this.node) {
      await this.jobs.start(this.query.instance, this.node.did.did);
      await this._noteSession(this.jobs.acting);
    }
  }

  // ------------------------------------------------------------------ private

  private _askings(): Asking[] {
    return [this.connecting, this.signingIn, this.describing, this.locating, this.explaining];
  }

  /** Start with an instance: load its scopes, and search. */
  private async _enter(): Promise<void> {
    this._clear();
    this._arm();
    if (this.isReady && !this.isForeignVersion) {
      await Promise.all([this._readScopes(), this.search(), this._readStorage()]);
    }
  }

  /** Send the credentials; return null if the sign-in failed or another one replaced it. */
  private async _send(credentials: ICredentials): Promise<ISession | null> {
    const { instance } = this.query;
    let session: ISession | null = null;
    await this.signingIn.ask(async signal => {
      const answer = await this.api.signIn(instance, credentials, signal);
      if (!signal.aborted) {
        session = answer;
        this.signInError = null;
        this._setSession(answer);
      }
    });
    return session;
  }

  private async _readScopes(): Promise<void> {
    const { instance } = this.query;
    const scopes: string[] = [];
    await this._scoping.ask(async signal => {
      await readAll(this.api.scopes(instance, signal), batch =>
        scopes.push(...batch.map(row => row.scope))
      );
      if (signal.aborted) {
        return;
      }
      this.scopes = scopes;
      const shared = scopes.filter(scope => !/^(user|group)\./.test(scope));
      if (shared.length === 1 && !this.query.scope) {
        void this.setScope(shared[0]); // the only choice
      }
    });
    await this._noteSession(this._scoping);
  }

  /** Load the credentials for storages, which the list of instances does not have. */
  private async _readStorage(): Promise<void> {
    if (!this.session!.storage) {
      await this.checkSession();
    }
  }

  /** Update the session after an answer: the request may have signed in, or the sign-in may have expired. */
  private async _noteSession(asking: Asking): Promise<void> {
    if (asking.error) {
      this._noteError(asking.error);
    } else if (asking.phase === 'done' && this.session?.state === 'renewable') {
      await this.checkSession();
    }
  }

  private _noteError(error: LakeError): void {
    const { session } = this;
    if (error.code !== 'sign_in_needed') {
      return;
    }
    this.signInError = error;
    if (session) {
      this._setSession({ ...session, state: 'signed_out', expires: null });
    }
    this._clear();
  }

  private _setSession(session: ISession): void {
    const each = this.known?.instances.find(({ name }) => name === session.instance);
    if (each) {
      each.session = session;
      this._arm();
      this._changed();
    }
  }

  private _setQuery(change: Partial<IQuery>): void {
    this.query = { ...this.query, ...change };
    void this.state?.save(STATE_KEY, { ...this.query });
    this._changed();
  }

  private _clear(): void {
    this.found.clear();
    this.found.asking.reset();
    this._scoping.stop();
    this._look(null);
  }

  private _look(row: Row | null): void {
    this._current = row?.key ?? null;
    this.describing.reset();
    this.locating.reset();
    this.explaining.reset();
    this.choices = null;
    this.details = { did: null, holdings: [] };
    this._changed();
    void this._looking.invoke();
  }

  /** Update the time left, and notice when a sign-in expires or ends at a page. */
  private async _tick(): Promise<void> {
    if (this.timeLeft === 0 || this.waiting) {
      await this.checkSession();
    }
    if (!this.isDisposed) {
      this._arm();
      this._changed();
    }
  }

  private _arm(): void {
    window.clearTimeout(this._ticker);
    const left = this.waiting ? POLL_MS : this.timeLeft ? this.timeLeft + GRACE_MS : TICK_MS;
    this._ticker = window.setTimeout(() => void this._tick(), Math.min(left, TICK_MS));
  }

  private _changed(): void {
    this._rows = null;
    if (!this.isDisposed) {
      this.stateChanged.emit();
    }
  }

  private _rows: Row[] | null = null;
  private _current: string | null = null;
  private _scoping = new Asking();
  private _typing = new Debouncer(() => this.search(), TYPING_MS);
  private _looking = new Debouncer(() => this.look(), LOOKING_MS);
  private _ticker = 0;
}
