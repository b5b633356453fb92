interface Window {
  /** Ids and times in the order in which the rows were read. */
  readonly rows: number[];
  readonly times: number[];
}

/**
 * The rows of the last minutes by a key, such as an address. Memory is bounded: of `keys` keys with one row, and of as many with several,
 * the ones that were used last are kept. An attacker who invents names or addresses replaces only other keys with one row.
 */
export class RowWindows {
  private readonly once = new Map<string, Window>();
  private readonly repeated = new Map<string, Window>();

  /**
   * @param span ms
   * @param kept how many rows of a key are kept, the newest
   */
  constructor(
    private readonly span: number,
    private readonly kept: number,
    private readonly keys = 10_000,
  ) {}

  /** A row that is there already (it was edited) is not added again. */
  add(key: string, row: number, time: number): void {
    const known = this.repeated.get(key) ?? this.once.get(key);
    if (known === undefined) {
      put(this.once, key, { rows: [row], times: [time] }, this.keys);
      return;
    }
    if (known.rows.includes(row)) return;
    known.rows.push(row);
    known.times.push(time);
    if (known.rows.length > this.kept) {
      known.rows.shift();
      known.times.shift();
    }
    this.once.delete(key);
    put(this.repeated, key, known, this.keys);
  }

  /** The rows of a key within the span before a time, and below a row. */
  before(key: string, row: number, time: number): number[] {
    const found = this.repeated.get(key) ?? this.once.get(key);
    if (found === undefined) return [];
    return found.rows.filter((id, at) => {
      const age = time - (found.times[at] ?? 0);
      return id < row && age < this.span && age > -CLOCK_MS;
    });
  }

  clear(): void {
    this.once.clear();
    this.repeated.clear();
  }

  get size(): number {
    return this.once.size + this.repeated.size;
  }
}

/** Rows of the same moment may have times in another order than their ids. */
export const CLOCK_MS = 5_000;

function put(map: Map<string, Window>, key: string, window: Window, most: number): void {
  map.delete(key);
  map.set(key, window);
  if (map.size <= most) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
