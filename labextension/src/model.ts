/**
 * The state of the sidebar, which all views show and all commands change.
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
/** Most files whose replicas are explained. */
const MOST_EXPLAINED = 10_000;
/** The server's clock may be a little behind. */
const GRACE_MS = 200;

/** What is remembered between visits. Never a credential. */
export interface IQuery {
  instance: string;
  scope: string;
  text: string;
  type: SearchType;
}

/** What is known of the DID that is looked at. */
export interface IDetails {
  did: IDescribedDid | null;
  holdings: IHolding[];
}

/**
 * Make the pattern of a search: a text without a wildcard is looked for anywhere in the name.
 *
 * @returns Scope and name, or null where one of them is missing.
 */
export function patternOf(query: IQuery): string | null {
  const name = query.text.trim();
  if (!name || !query.scope) {
    return null;
  }
  return `${query.scope}:${name.includes('*') ? name : `*${name}*`}`;
}

/** A page of the browser that is to show the page of an identity provider. */
export interface IPage {
  show: (url: string) => void;
  close: () => void;
}

/**
 * The one model.
 */
export class LakeModel extends VDomModel {
  /** Reading the list of instances. */
  readonly connecting = new Asking();
  /** Signing in. */
  readonly signingIn = new Asking();
  /** What the search found. */
  readonly found: Branch;
  /** The two questions on the DID that is looked at. */
  readonly describing = new Asking();
  readonly locating = new Asking();
  /** Which replicas of it are read, and why. */
  readonly explaining = new Asking();
  /** The downloads. */
  readonly jobs: JobsModel;

  known: IInstances | null = null;
  scopes: string[] = [];
  query: IQuery = { instance: '', scope: '', text: '', type: 'collection' };
  details: IDetails = { did: null, holdings: [] };
  choices: Choices | null = null;
  /** Why one is no longer signed in. */
  signInError: LakeError | null = null;
  /** Why it is not known how the sign-in stands that waits. */
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

  // ------------------------------------------------------------------ what the views show

  get instance(): IInstance | null {
    const { known, query } = this;
    return known?.instances.find(each => each.name === query.instance) ?? null;
  }

  get session(): ISession | null {
    return this.instance?.session ?? null;
  }

  /** Whether Rucio can be asked. */
  get isReady(): boolean {
    return !!this.session && this.session.state !== 'signed_out';
  }

  /** The sign-in that waits for somebody at a page. */
  get waiting(): IPending | null {
    return this.session?.state === 'signed_out' ? this.session.pending : null;
  }

  /** Why one has to sign in, or why that failed; null where there is no more to say. */
  get whySignedOut(): LakeError | null {
    const failure = this.session?.failure;
    return this.signingIn.error ?? this.signInError ?? (failure ? lakeError(failure) : null);
  }

  /** Whether the server half is of another version than this one. */
  get isForeignVersion(): boolean {
    return !!this.known && this.known.version !== VERSION;
  }

  get pattern(): string | null {
    return patternOf(this.query);
  }

  /** Time until the sign-in ends, in ms; null where it does not, or is renewed. */
  get timeLeft(): number | null {
    const expires = this.session?.expires;
    return expires ? Math.max(0, Date.parse(expires) - Date.now()) : null;
  }

  /** All lines of the tree, from top to bottom. */
  get rows(): readonly Row[] {
    if (!this._rows) {
      this._rows = [];
      this.found.appendTo(this._rows);
    }
    return this._rows;
  }

  /** Index of the current line; -1 where there is none. */
  get currentIndex(): number {
    return this.rows.findIndex(row => row.key === this._current);
  }

  /** The current line. */
  get current(): Row | null {
    return this.rows[this.currentIndex] ?? null;
  }

  /** The DID that is looked at. */
  get node(): INode | null {
    const row = this.current;
    return row && isNode(row) ? row : null;
  }

  // ------------------------------------------------------------------ instances and sign-in

  /** Take up what was remembered, and connect. */
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
   * Begin to sign in at the page of an identity provider.
   *
   * @param page - Where it is to be shown.
   * @param byCode - Whether it is to end with a code.
   */
  async beginSignIn(page: IPage, byCode = false): Promise<void> {
    const session = await this._send(byCode ? { by_code: true } : {});
    if (session?.pending) {
      page.show(session.pending.url);
    } else {
      page.close();
    }
  }

  /** See whether the sign-in is still what it was: it ends by itself, and other tabs sign in and out. */
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
      return; // the next question will tell why
    }
    this.pollError = null;
    if (old !== this.session || this.signingIn.isOpen) {
      return; // the user was quicker
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

  /** Search as one types. A text that begins with a known scope and a colon sets the scope. */
  setText(text: string): void {
    const [scope, ...rest] = text.trimStart().split(':');
    const isDid = rest.length > 0 && this.scopes.includes(scope);
    this._setQuery(isDid ? { scope, text: rest.join(':') } : { text });
    void this._typing.invoke();
  }

  /** Search now; what was searched before is dropped. The current DID stays, if it is found again. */
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
      void this.look(); // it was chosen just before the lines were gone
    }
    await this._noteSession(this.found.asking);
  }

  /**
   * Ask for the addresses of the files of a DID.
   *
   * @param limit - Most of them; 0 for all.
   * @param access - How they are to be read, by default as the instance has it.
   * @throws LakeError if there are none, or Rucio cannot be asked.
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

  /** Read everything anew. */
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

  /** Ask again what a container or dataset holds. */
  async reload(node: INode): Promise<void> {
    const { instance } = this.query;
    const children = node.children!;
    await children.load(signal => this.api.contents(instance, node.did.did, signal));
    if (this._current === children.remarkKey && children.nodes.length) {
      this.setCurrent(children.nodes[0]); // the line that told of the waiting is gone
    }
    await this._noteSession(children.asking);
  }

  /** Make a line the current one; its DID is then looked at. */
  setCurrent(row: Row | null): void {
    if (row?.key !== this._current) {
      this._look(row);
    }
  }

  /** Ask for the details of the current DID. */
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

  /** Ask which replicas of the current DID are read, and why; files that fared alike are summed up. */
  async explain(): Promise<void> {
    const { node, instance } = this;
    if (!node || !instance) {
      return;
    }
    const { access, name } = instance;
    // what is resolved or fetched later shows no choice yet
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

  /** Begin with an instance: read its scopes, and search. */
  private async _enter(): Promise<void> {
    this._clear();
    this._arm();
    if (this.isReady && !this.isForeignVersion) {
      await Promise.all([this._readScopes(), this.search(), this._readStorage()]);
    }
  }

  /** Send what a sign-in needs; gives nothing where it failed, or another one took its place. */
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
        void this.setScope(shared[0]); // there is no choice
      }
    });
    await this._noteSession(this._scoping);
  }

  /** Look what storages are shown, which the list of instances does not say. */
  private async _readStorage(): Promise<void> {
    if (!this.session!.storage) {
      await this.checkSession();
    }
  }

  /** After an answer: the sign-in may have been made by it, or have run out. */
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

  /** Show the time left, and notice the end of a sign-in, or that somebody has signed in at a page. */
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
