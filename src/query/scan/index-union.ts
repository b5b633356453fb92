import type { Database, Statement } from 'better-sqlite3';
import { branchParams, branchSql, type IndexLookup } from '../plan/index-condition.js';
import type { QueryTable } from '../plan/table-schema.js';
import { AdaptiveWindow } from './adaptive-window.js';

/** Ids fetched at a time, for all branches together and for one. */
const TOGETHER = 4_096;
const MOST = 1_024;
const FIRST = 64;
/** The first window of ids that is searched for rows with a further condition. */
const WINDOW = 32_768;

interface Head {
  readonly branch: IndexLookup;
  ids: number[];
  at: number;
  /** Ids below this one are still to be fetched. */
  before: number;
  batch: number;
  readonly window: AdaptiveWindow;
}

/** The ids of several branches as one sequence, the newest first, each once. Nothing is open between two steps. */
export class IndexUnion {
  /** Heads with fetched ids, as a heap with the newest id on top. */
  private readonly heads: Head[] = [];
  /** Heads whose next ids must be fetched before the next id is known. */
  private dry: Head[];
  private last = Number.POSITIVE_INFINITY;
  /** Statements of the connection that was used last. */
  private readonly statements = new Map<string, Statement>();
  private db: Database | null = null;

  /** @param lowest the lowest id @param before ids below this one */
  constructor(
    private readonly table: QueryTable,
    branches: readonly IndexLookup[],
    private readonly lowest: number,
    before: number,
  ) {
    const batch = Math.max(1, Math.min(FIRST, Math.floor(TOGETHER / Math.max(1, branches.length))));
    const rest = { ids: [], at: 0, before, batch };
    this.dry = branches.map((branch) => ({ ...rest, branch, window: new AdaptiveWindow(WINDOW) }));
  }

  get ended(): boolean {
    return this.heads.length === 0 && this.dry.length === 0;
  }

  /** Up to `most` further ids; fewer at the end, or when the time limit (by `performance.now()`) is reached. */
  take(db: Database, most: number, until: number): number[] {
    if (db !== this.db) this.statements.clear();
    this.db = db;
    const { statements } = this;
    const found: number[] = [];
    while (found.length < most) {
      for (let head = this.dry.pop(); head !== undefined; head = this.dry.pop()) {
        this.refill(db, statements, head);
        if (head.ids.length > 0) this.add(head);
        else if (head.before > this.lowest) this.dry.push(head);
        if (performance.now() > until && this.dry.length > 0) return found;
      }
      const [top] = this.heads;
      if (top === undefined) break;
      const id = top.ids[top.at] ?? 0;
      if (id !== this.last) found.push(id);
      this.last = id;
      top.at++;
      if (top.at === top.ids.length) this.remove(top);
      else this.siftDown(0);
    }
    return found;
  }

  private refill(db: Database, statements: Map<string, Statement>, head: Head): void {
    const { id } = this.table.columns;
    const { branch, before, batch } = head;
    const key = `${branch.value === null} ${branch.key} ${branch.and?.sql ?? ''}`;
    let statement = statements.get(key);
    if (statement === undefined) {
      statement = db
        .prepare(branchSql(this.table, branch, `AND ${id} < ? AND ${id} >= ?`, 'LIMIT ?'))
        .pluck();
      statements.set(key, statement);
    }
    const floor = branch.and === undefined ? this.lowest : Math.max(this.lowest, before - head.window.size);
    const begin = branch.and === undefined ? 0 : performance.now();
    head.ids = statement.all(...branchParams(branch), before, floor, batch) as number[];
    head.at = 0;
    head.before = head.ids.length === batch ? (head.ids.at(-1) ?? floor) : floor;
    head.batch = Math.min(MOST, batch * 2);
    if (branch.and === undefined) return;
    head.window.adapt(performance.now() - begin, head.before === floor && floor > this.lowest);
  }

  private add(head: Head): void {
    let at = this.heads.push(head) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = this.heads[above];
      if (other === undefined || (other.ids[other.at] ?? 0) >= (head.ids[head.at] ?? 0)) return;
      this.heads[at] = other;
      this.heads[above] = head;
      at = above;
    }
  }

  /** Removes the top of the heap; it is refilled if it has more ids. */
  private remove(top: Head): void {
    const end = this.heads.pop();
    if (end !== undefined && end !== top) {
      this.heads[0] = end;
      this.siftDown(0);
    }
    if (top.before > this.lowest) this.dry.push(top);
  }

  /** Restores the heap's invariant: no head is newer than its parent. */
  private siftDown(start: number): void {
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
