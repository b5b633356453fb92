import type { Database, Statement } from 'better-sqlite3';
import { type Branch, branchSql } from './plan.js';
import type { QueryTable } from './table.js';

/** Ids fetched at a time, of all branches together and of one. */
const TOGETHER = 4_096;
const MOST = 1_024;
const FIRST = 64;

interface Head {
  readonly branch: Branch;
  ids: number[];
  at: number;
  /** Ids below this one are still to be fetched. */
  before: number;
  batch: number;
  ended: boolean;
}

/** The ids of several branches as one sequence, the newest first, each once. Holds nothing open between two steps. */
export class BranchIds {
  private heads: Head[];
  private started = false;
  private last = Number.POSITIVE_INFINITY;

  /** Ids below `before`, and not below `lowest`. */
  constructor(
    private readonly table: QueryTable,
    branches: readonly Branch[],
    private readonly lowest: number,
    before: number,
  ) {
    const batch = Math.max(1, Math.min(FIRST, Math.floor(TOGETHER / Math.max(1, branches.length))));
    this.heads = branches.map((branch) => ({ branch, ids: [], at: 0, before, batch, ended: false }));
  }

  /** Up to `most` further ids; fewer only at the end. */
  take(db: Database, most: number): number[] {
    const statements = new Map<string, Statement>();
    if (!this.started) {
      this.started = true;
      for (const head of this.heads) this.refill(db, statements, head);
      this.heads = this.heads.filter((head) => head.at < head.ids.length);
      for (let at = (this.heads.length >> 1) - 1; at >= 0; at--) this.sink(at);
    }
    const found: number[] = [];
    while (found.length < most) {
      const [top] = this.heads;
      if (top === undefined) break;
      const id = top.ids[top.at] ?? 0;
      if (id !== this.last) found.push(id);
      this.last = id;
      top.at++;
      if (top.at === top.ids.length && !this.refill(db, statements, top)) {
        const end = this.heads.pop();
        if (end !== undefined && end !== top) this.heads[0] = end;
      }
      if (this.heads.length > 1) this.sink(0);
    }
    return found;
  }

  private refill(db: Database, statements: Map<string, Statement>, head: Head): boolean {
    if (head.ended) return false;
    const { id } = this.table.columns;
    const { branch } = head;
    const key = branch.value === null ? `${branch.key} NULL` : branch.key;
    let statement = statements.get(key);
    if (statement === undefined) {
      const sql = branchSql(this.table, branch, `AND ${id} < ? AND ${id} >= ?`, 'LIMIT ?');
      statement = db.prepare(sql).pluck();
      statements.set(key, statement);
    }
    const { before, batch } = head;
    head.ids = (
      branch.value === null
        ? statement.all(before, this.lowest, batch)
        : statement.all(branch.value, before, this.lowest, batch)
    ) as number[];
    head.at = 0;
    head.ended = head.ids.length < batch;
    head.before = head.ids.at(-1) ?? before;
    head.batch = Math.min(MOST, batch * 2);
    return head.ids.length > 0;
  }

  /** The heap's one invariant: no head is newer than the one above it. */
  private sink(start: number): void {
    let at = start;
    const idAt = (place: number): number => {
      const head = this.heads[place];
      return head === undefined ? -1 : (head.ids[head.at] ?? -1);
    };
    for (;;) {
      const left = 2 * at + 1;
      const newer = idAt(left + 1) > idAt(left) ? left + 1 : left;
      if (idAt(newer) <= idAt(at)) return;
      const above = this.heads[at];
      const below = this.heads[newer];
      if (above === undefined || below === undefined) return;
      this.heads[at] = below;
      this.heads[newer] = above;
      at = newer;
    }
  }
}
