import type { Line } from './read-lines.js';
import type { LogFile, RecoveryPlan } from './recovery.js';

/**
 * Where a sink stands when its note is lost with state.db, from the last lines of its files. Only Postern's own table is looked for:
 * the daemon's is in state.db, went with it and starts anew at 1.
 *
 * @param files ascending by number
 * @param linesBefore a file's lines, last first, null for what is no valid line; bounded by the caller
 */
export function planRebuild(
  files: readonly LogFile[],
  linesBefore: (file: LogFile) => Iterable<Line | null>,
): RecoveryPlan {
  const newest = files.at(-1);
  if (newest === undefined) {
    return { current: null, cuts: [], positions: [], corrections: [], found: [], lost: false };
  }
  let offset: number | null = null;
  let position: RecoveryPlan['positions'][number] | null = null;
  for (const file of files.toReversed()) {
    for (const line of linesBefore(file)) {
      if (line === null) continue;
      if (file === newest) offset ??= line.end;
      if (line.position.source !== 'postern') continue;
      const { source, timeline, sequence } = line.position;
      position = { source, timeline, upTo: sequence };
      break;
    }
    if (position !== null) break;
  }
  const at = offset ?? Math.min(newest.start, newest.size);
  const positions = position === null ? [] : [position];
  // What stood at the file's beginning is not known: a file cut shorter by hand later is not read back behind this point.
  const begin = { offset: at, positions };
  return {
    current: { file: newest, since: newest.since, begin, offset: at },
    cuts: newest.size > at ? [{ number: newest.number, at, bytes: newest.size - at }] : [],
    positions,
    corrections: positions.map((p) => ({ ...p, found: [] })),
    found: [],
    lost: false,
  };
}

/** Where a sink without a note goes on: behind the last line of the newest file. What the lines say, the sink finds out by itself. */
export function planEnd(
  files: readonly LogFile[],
  linesBefore: (file: LogFile) => Iterable<Line | null>,
): RecoveryPlan {
  const nothing = { positions: [], corrections: [], found: [], lost: false };
  const newest = files.at(-1);
  if (newest === undefined) return { current: null, cuts: [], ...nothing };
  const start = Math.min(newest.start, newest.size);
  let at = start;
  for (const line of linesBefore(newest)) {
    if (line === null) continue;
    at = line.end;
    break;
  }
  return {
    current: { file: newest, since: newest.since, begin: { offset: start, positions: [] }, offset: at },
    cuts: newest.size > at ? [{ number: newest.number, at, bytes: newest.size - at }] : [],
    ...nothing,
  };
}
