/**
 * The tree of DIDs: what a search found, with containers and datasets that open in place.
 */
import { DidType, IDid, Rows, readAll } from './api';
import { Asking } from './asking';

/** A DID in the tree. */
export interface INode {
  /** Unlike any other in the tree: a DID may stand in several places. */
  readonly key: string;
  readonly did: IDid;
  /** 1 for what the search found. */
  readonly level: number;
  readonly parent: INode | null;
  isOpen: boolean;
  /** What it holds, once it was opened. */
  children: Branch | null;
}

/** A line below a branch that tells its state in place of DIDs. */
export interface IRemark {
  readonly key: string;
  readonly level: number;
  readonly parent: INode;
  readonly branch: Branch;
}

/** One line of the list. */
export type Row = INode | IRemark;

/** Whether a line is a DID. */
export function isNode(row: Row): row is INode {
  return 'did' in row;
}

/** Whether a DID can hold others. */
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
 * DIDs that belong together, and how they are got: what a search found, or what a collection holds.
 */
export class Branch {
  readonly asking = new Asking();
  nodes: INode[] = [];
  /** Whether the server left some out. */
  more = false;

  /**
   * @param parent - The collection; null for what a search found.
   * @param changed - Is called at every change.
   */
  constructor(
    private readonly parent: INode | null,
    private readonly changed: () => void
  ) {
    this.asking.changed.connect(this.changed);
  }

  /** Key of the line that tells the state of this branch. */
  get remarkKey(): string {
    return `${this.parent?.key}\n`;
  }

  /** Whether the whole answer is there, and it has no DID. */
  get isEmpty(): boolean {
    return this.asking.phase === 'done' && !this.nodes.length;
  }

  /**
   * Ask for the DIDs; those of an earlier question are dropped.
   *
   * @param rows - Asks for them.
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

  /** Drop all DIDs, and what was asked about them. */
  clear(): void {
    this.asking.stop();
    this.nodes.forEach(node => node.children?.clear());
    this.nodes = [];
    this.more = false;
  }

  /** Append the lines of this branch, and of all that is open below. */
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
