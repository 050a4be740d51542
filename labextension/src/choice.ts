/**
 * Which replicas were taken, and why the others were not: files that fared alike are one line, as in `explain()` of
 * `rucio_lab/api/files.py`.
 */
import { IReplica, IResolvedEnd, IResolvedFile } from './api';

/** What became of a replica; `missing`: there is none of the file that can be read. */
export type Fate = 'taken' | 'in reserve' | 'left out' | 'missing';

const ORDER: Fate[] = ['taken', 'in reserve', 'left out', 'missing'];

/** Files that fared alike. */
export interface IChoice extends IReplica {
  fate: Fate;
  why: string;
  files: number;
  /** One of them. */
  example: string;
}

/**
 * The choice of replicas for the files of a DID, summed up as they come.
 */
export class Choices {
  /** Number of files that were looked at, those that cannot be read included. */
  total = 0;
  /** Whether there are more. */
  more = false;

  /** Take some files in. */
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

  /** Take in what was told at the end. */
  end({ missing, more, total }: IResolvedEnd): void {
    for (const [did, reason] of Object.entries(missing)) {
      this._note(did, { rse: '', endpoint: '' }, 'missing', reason, new Set());
    }
    this.total += Object.keys(missing).length;
    this.more = more || total > this.total;
  }

  /** All lines: what was taken first, and of each kind those with the most files first. */
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
      seen.add(row); // a file counts once, however many addresses it has there
      row.files++;
    }
  }

  private _rows = new Map<string, IChoice>();
}
