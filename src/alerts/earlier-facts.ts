import type { AuditSource, HighWaterMark } from '../source/source.js';
import { type Fact, factOf } from './facts.js';
import { pageBefore } from './page-before.js';

/** About 0.1 s of work, once after a start or a backlog. */
const MOST_ROWS = 10_000;

export interface EarlierRows {
  readonly source: AuditSource;
  readonly mark: HighWaterMark;
  /** The highest row. */
  readonly upTo: number;
  /** The time of the oldest that is needed, ms since the epoch. */
  readonly since: number;
}

/** The facts of the newest rows up to one, ids ascending; of very many, the newest 10,000. Null while the table can't be read. */
export function earlierFacts({ source, mark, upTo, since }: EarlierRows): Fact[] | null {
  const pages: Fact[][] = [];
  let before = upTo + 1;
  for (let rows = 0; rows < MOST_ROWS && before > 1; ) {
    const found = pageBefore(source, mark, before);
    if (found === null) return null;
    const { events } = found;
    rows += events.length;
    const recent = events.filter(({ time }) => time !== null && time >= since);
    pages.push(recent.flatMap((event) => factOf(event) ?? []));
    const [first] = events;
    if (first === undefined || recent.length === 0 || !found.more) break;
    before = first.sequence;
  }
  return pages.reverse().flat();
}
