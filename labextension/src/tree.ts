/**
 * The tree of DIDs: search results, with containers and datasets that expand in place.
 */
import { DidType, IDid, Rows, readAll } from './api';
import { Asking } from './asking';

/** A DID in the tree. */
export interface INode {
  /** Unique in the tree, where a DID can appear several times. */
  readonly key: string;
  readonly did: IDid;
  /** 1 for search results. */
  readonly level: number;
  readonly parent: INode | null;
  isOpen: boolean;
  /** Its contents, once it has been opened. */
  children: Branch | null;
}

/** A row below a branch that shows its state instead of DIDs. */
export interface IRemark {
  readonly key: string;
  readonly level: number;
  readonly parent: INode;
  readonly branch: Branch;
}

/** One row of the tree. */
export type Row = INode | IRemark;

/** Whether a row is a DID. */
export function isNode(row: Row): row is INode {
  return 'did' in row;
}

/** Whether a DID can contain others. */
export function isCollection(did: IDid): boolean {
  return did.type !== 'file';
}

const collator = new Intl.Collator(undefined, { numeric: true });

const ORDER: Record<DidType, number> = { container: 0, dataset: 1, file: 2 };

/** Containers first, then datasets, then files; each by name. */
function compare({ did: a }: INode, { did: b }: INode): number {
  return ORDER[a.type] - ORDER[b.type] || collator.compare(a.did, b.did);
}

/**
 * DIDs at one place in the tree, and the request for them: search results, or the contents of a collection.
 */
export class Branch {
  readonly asking = new Asking();
  nodes: INode[] = [];
  /** Whether the server left some out. */
  more = false;

  /**
   * @param parent - The collection; null for search results.
   * @param changed - Called at every change.
   */
  constructor(
    private readonly parent: INode | null,
    private readonly changed: () => void
  ) {
    this.asking.changed.connect(this.changed);
  }

  /** Key of the row that shows the state of this branch. */
  get remarkKey(): string {
    return `${this.parent?.key}\n`;
  }

  /** Whether the answer is complete and has no DIDs. */
  get isEmpty(): boolean {
    return this.asking.phase === 'done' && !this.nodes.length;
  }

  /**
   * Request the DIDs, and drop those of an earlier request.
   *
   * @param rows - Sends the request.
   */
  async load(rows: (signal: AbortSignal) => Rows<IDid>): Promise<void> {
    this.clear();
    await this.asking.ask(async signal => {
      const end = await readAll(rows(signal), batch => {
        if (!signal.aborted) {
          this.nodes.push(...batch.map(did => this._node(did)));
          this.changed();
        }
      });
      if (!signal.aborted) {
        this.nodes.sort(compare);
        this.more = end.more;
      }
    });
  }

  /** Drop all DIDs, and stop the requests for them. */
  clear(): void {
    this.asking.stop();
    this.nodes.forEach(node => node.children?.clear());
    this.nodes = [];
    this.more = false;
  }

  /** Append the rows of this branch and of all open branches below it. */
  appendTo(rows: Row[]): void {
    for (const node of this.nodes) {
      rows.push(node);
      if (node.isOpen) {
        node.children!.appendTo(rows);
      }
    }
    const { parent, asking } = this;
    if (parent && (asking.phase !== 'done' || this.isEmpty)) {
      rows.push({ key: this.remarkKey, level: parent.level + 1, parent, branch: this });
    }
  }

  private _node(did: IDid): INode {
    const parent = this.parent;
    return {
      key: parent ? `${parent.key}\n${did.did}` : did.did,
      did,
      level: parent ? parent.level + 1 : 1,
      parent,
      isOpen: false,
      children: null
    };
  }
}
