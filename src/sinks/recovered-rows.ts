import type { RecoveredGroup } from './files/file-position.js';
import type { LinePosition } from './files/read-lines.js';
import { type Positions, positionIn } from './positions.js';

/** Rows found at the destination, by (source, timeline). */
export class RecoveredRows {
  private readonly groups: Array<{
    source: RecoveredGroup['source'];
    timeline: number;
    rows: Array<readonly [number, string]>;
  }>;

  constructor(known: readonly RecoveredGroup[]) {
    this.groups = known.map((f) => ({ ...f, rows: [...f.rows] }));
  }

  add({ source, timeline, sequence, id }: LinePosition): void {
    let group = this.groups.find((g) => g.source === source && g.timeline === timeline);
    if (group === undefined) {
      group = { source, timeline, rows: [] };
      this.groups.push(group);
    }
    group.rows.push([sequence, id]);
  }

  all(): RecoveredGroup[] {
    return this.groups;
  }

  /** Only what is still there. */
  upTo(positions: Positions): RecoveredGroup[] {
    return this.groups
      .map((g) => ({
        ...g,
        rows: g.rows.filter(([id]) => id <= (positionIn(positions, g.source, g.timeline) ?? 0)),
      }))
      .filter((g) => g.rows.length > 0);
  }
}

/** Drops what a batch shows that shipping has taken over: it goes on behind it, or in a later timeline. */
export function confirm(
  found: readonly RecoveredGroup[],
  source: string,
  timeline: number,
  upTo: number,
): readonly RecoveredGroup[] {
  if (found.length === 0) return found;
  return found
    .map((f) => {
      if (f.source !== source || f.timeline > timeline) return f;
      return { ...f, rows: f.timeline < timeline ? [] : f.rows.filter(([id]) => id > upTo) };
    })
    .filter((f) => f.rows.length > 0);
}
