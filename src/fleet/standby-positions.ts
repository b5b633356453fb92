import type { LoopStatus } from '../shipping/loop-status.js';
import type { State } from '../shipping/state.js';
import type { HubTable } from './hub-table.js';
import type { HubPositions } from './lease.js';

const SOURCE = 'postern';

/** Up to which event each sink has delivered the hub's table: row ids are each hub's own, event ids are the same at both. */
export function positionsOf(
  table: HubTable,
  sinks: Readonly<Record<string, Pick<LoopStatus, 'cursors'>>>,
  names: readonly string[],
): HubPositions {
  return Object.fromEntries(
    names.flatMap((name) => {
      const row = sinks[name]?.cursors[SOURCE]?.id ?? 0;
      const id = row === 0 ? null : table.eventIdUpTo(row);
      return id === null ? [] : [[name, id]];
    }),
  );
}

/** Moves the cursors of sinks on standby to the holder's positions, never back. A position whose event is not here yet is ignored. */
export function moveStandbyCursors(
  table: HubTable,
  state: State,
  positions: HubPositions,
  names: readonly string[],
): void {
  const timeline = state.timelines.current(SOURCE)?.timeline ?? 1;
  const moves = names.flatMap((name) => {
    const id = positions[name];
    const row = id === undefined ? null : table.rowOf(id);
    const at = state.cursors.position(name, SOURCE, timeline) ?? 0;
    return row === null || row <= at ? [] : [{ name, row }];
  });
  if (moves.length === 0) return;
  state.transaction(() => {
    for (const { name, row } of moves) {
      state.cursors.set(name, SOURCE, timeline, row);
      // A sink with `start: now` would otherwise skip the events since the holder's last report.
      state.cursors.setStart(name, SOURCE, { timeline, skipTo: row });
    }
  });
}
