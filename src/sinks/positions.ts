import type { SourceName } from '../audit/event.js';

/** How far a sink has delivered one timeline of one source. */
export interface Position {
  readonly source: SourceName;
  readonly timeline: number;
  readonly upTo: number;
}

/** One `Position` for each (source, timeline), older timelines first. Immutable. */
export type Positions = readonly Position[];

/** Timelines remembered per source: a power loss undoes at most seconds. */
const TIMELINES = 8;

/** The position in a timeline; null if there is none. */
export function positionIn(positions: Positions, source: SourceName, timeline: number): number | null {
  return positions.find((p) => p.source === source && p.timeline === timeline)?.upTo ?? null;
}

/** The positions with one of them replaced. */
export function advance(positions: Positions, source: SourceName, timeline: number, upTo: number): Positions {
  const index = positions.findIndex((p) => p.source === source && p.timeline === timeline);
  if (index >= 0) return positions.with(index, { source, timeline, upTo });
  const all = [...positions, { source, timeline, upTo }].sort((a, b) => a.timeline - b.timeline);
  const own = all.filter((p) => p.source === source);
  const oldest = own.length > TIMELINES ? own[0] : undefined;
  return oldest === undefined ? all : all.filter((p) => p !== oldest);
}

/**
 * Where the cursors must go when only `now` is left of `before`. Of each source only the oldest timeline that
 * differs counts: all later ones follow it in the file.
 */
export function advancedPositions(before: Positions, now: Positions): Position[] {
  const changed = before
    .map((p) => ({ ...p, upTo: positionIn(now, p.source, p.timeline) ?? 0 }))
    .filter((p) => positionIn(before, p.source, p.timeline) !== p.upTo);
  return changed.filter((p, i) => changed.findIndex((q) => q.source === p.source) === i);
}
