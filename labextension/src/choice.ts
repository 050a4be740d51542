/**
 * Which replicas are used, and why the others are not. Files with the same result share a row, as in `explain()` of
 * `rucio_lab/api/files.py`.
 */
import { IReplica, IResolvedEnd, IResolvedFile } from './api';

/** What happens to a replica; `missing` means that the file has no replica that can be read. */
export type Fate = 'taken' | 'in reserve' | 'left out' | 'missing';

const ORDER: Fate[] = ['taken', 'in reserve', 'left out', 'missing'];

/** Files with the same result. */
export interface IChoice extends IReplica {
  fate: Fate;
  why: string;
  files: number;
  /** One of them. */
  example: string;
}

/**
 * Summary of the choice of replicas for the files of a DID, updated as files arrive.
 */
export class Choices {
  /** Number of files so far, including those that cannot be read. */
  total = 0;
  /** Whether there are more files. */
  more = false;

  /** Add files. */
  take(files: IResolvedFile[]): void {
    for (const { did, replicas, left_out } of files) {
      this.total++;
      const seen = new Set<IChoice>();
      replicas.forEach((replica, index) =>
        this._note(did, replica, index ? 'in reserve' : 'taken', '', seen)
      );
      left_out.forEach(left => this._note(did, left, 'left out', left.reason, seen));
    }
  }

  /** Add what the end of the list says. */
  end({ missing, more, total }: IResolvedEnd): void {
    for (const [did, reason] of Object.entries(missing)) {
      this._note(did, { rse: '', endpoint: '' }, 'missing', reason, new Set());
    }
    this.total += Object.keys(missing).length;
    this.more = more || total > this.total;
  }

  /** All rows: used replicas first, and within each kind the most files first. */
  get rows(): IChoice[] {
    return [...this._rows.values()].sort(
      (a, b) => ORDER.indexOf(a.fate) - ORDER.indexOf(b.fate) || b.files - a.files
    );
  }

  private _note(
    did: string,
    { rse, endpoint }: IReplica,
    fate: Fate,
    why: string,
    seen: Set<IChoice>
  ): void {
    const key = JSON.stringify([fate, rse, endpoint, why]);
    const row = this._rows.get(key) ?? { fate, rse, endpoint, why, files: 0, example: did };
    this._rows.set(key, row);
    if (!seen.has(row)) {
      seen.add(row); // a file counts once, even with several addresses there
      row.files++;
    }
  }

  private _rows = new Map<string, IChoice>();
}
