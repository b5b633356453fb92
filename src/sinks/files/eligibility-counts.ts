const MINUTE_MS = 60_000;
const MINUTES = 60;
const SHORT_MINUTES = 10;

/** What was decided of late, for one verdict. */
export interface RecentVerdict {
  readonly ten_minutes: number;
  readonly hour: number;
  /** When the last one was decided, ms since the epoch. */
  readonly last: number;
  /** Public id of the last one, `postern:4711`. */
  readonly newest: string;
}

interface Counted {
  /** By minute since the epoch. */
  readonly minutes: Map<number, number>;
  last: number;
  newest: string;
}

/** How often each verdict was given in the last hour, and to whom last: that all recent failures are withheld must be seen. */
export class VerdictCounts<V extends string> {
  private readonly counted = new Map<V, Counted>();

  note(verdict: V, id: string, now: number): void {
    const minute = Math.floor(now / MINUTE_MS);
    let counted = this.counted.get(verdict);
    if (counted === undefined) {
      counted = { minutes: new Map(), last: now, newest: id };
      this.counted.set(verdict, counted);
    }
    counted.minutes.set(minute, (counted.minutes.get(minute) ?? 0) + 1);
    counted.last = now;
    counted.newest = id;
    if (counted.minutes.size > 2 * MINUTES) forget(counted.minutes, minute);
  }

  /** Leaves out verdicts that were not given within the hour. */
  recent(now: number): Readonly<Partial<Record<V, RecentVerdict>>> {
    const minute = Math.floor(now / MINUTE_MS);
    const all: Partial<Record<V, RecentVerdict>> = {};
    for (const [verdict, { minutes, last, newest }] of this.counted) {
      forget(minutes, minute);
      const hour = sum(minutes, minute - MINUTES);
      if (hour === 0) continue;
      all[verdict] = { ten_minutes: sum(minutes, minute - SHORT_MINUTES), hour, last, newest };
    }
    return all;
  }
}

/** Also drops minutes in the future, which a clock that was set back leaves behind. */
function forget(minutes: Map<number, number>, now: number): void {
  for (const minute of minutes.keys()) if (minute <= now - MINUTES || minute > now) minutes.delete(minute);
}

function sum(minutes: ReadonlyMap<number, number>, after: number): number {
  let total = 0;
  for (const [minute, count] of minutes) if (minute > after) total += count;
  return total;
}
