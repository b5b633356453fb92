import { setImmediate } from 'node:timers/promises';
import { fingerprintOf } from '../source/event-id.js';
import type { AuditSource, HighWaterMark } from '../source/source.js';
import { type IdRange, rangesOf } from './id-ranges.js';
import type { State } from './state.js';

/** Rows of an old history that a sink had not delivered and that the new database does not have. */
export interface LostRows {
  readonly sink: string;
  readonly timeline: number;
  readonly count: number;
  /** Inclusive, ascending, at most 100; `count` is of all. */
  readonly ranges: readonly IdRange[];
}

const SLICE_ROWS = 2_000;
const SLICE_BYTES = 4 * 2 ** 20;
const RANGES_NAMED = 100;

/**
 * Compares what the sinks had still to deliver of the old history (`old`) with the database that is there now, in slices.
 * Rows that are in both (same id, same columns) are not lost: the new timeline delivers them.
 *
 * @param signal ends it early; what it has by then is of no use
 */
export async function findLost(
  source: AuditSource,
  state: State,
  old: HighWaterMark,
  sinks: readonly string[],
  signal?: AbortSignal,
): Promise<LostRows[]> {
  const lagging = sinks
    .map((sink) => ({ sink, upTo: state.cursors.position(sink, source.name, old.timeline) ?? old.id }))
    .filter(({ upTo }) => upTo < old.id);
  if (lagging.length === 0) return [];
  const missing = await missingIds(source, state, old, Math.min(...lagging.map(({ upTo }) => upTo)), signal);
  return lagging
    .map(({ sink, upTo }) => {
      const ids = missing.filter((id) => id > upTo);
      return {
        sink,
        timeline: old.timeline,
        count: ids.length,
        ranges: rangesOf(ids).slice(0, RANGES_NAMED),
      };
    })
    .filter(({ count }) => count > 0);
}

async function missingIds(
  source: AuditSource,
  state: State,
  old: HighWaterMark,
  from: number,
  signal?: AbortSignal,
): Promise<number[]> {
  const anything: HighWaterMark = { timeline: old.timeline + 1, id: 0, fingerprint: null };
  const missing: number[] = [];
  let after = from;
  while (after < old.id && signal?.aborted !== true) {
    const look = source.read({ mark: anything, after, maxRows: SLICE_ROWS, maxBytes: SLICE_BYTES });
    // If it can't be read now, all of the rest counts as lost: saying too much is better than too little.
    const events = look.state === 'reading' ? look.events : [];
    const upTo = events.at(-1)?.sequence ?? old.id;
    const present = new Set(events.map((event) => fingerprintOf(event.id)));
    state.fingerprints.each(source.name, old.timeline, after + 1, Math.min(upTo, old.id), (id, print) => {
      if (!present.has(print)) missing.push(id);
    });
    after = upTo;
    await setImmediate();
  }
  return missing;
}
