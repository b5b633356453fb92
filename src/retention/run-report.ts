import type { PublicSource } from '../audit/event.js';
import { messageOf } from '../errors.js';
import { groupedDigits } from '../grouped-digits.js';
import { daemonCommand } from '../next-steps.js';
import type { NewEntry } from '../recorder/recorder.js';
import { LARGEST_ROW } from './archive/row-size-limit.js';
import { explainedProblem, type Problem, toErrorParts } from './error-parts.js';
import { NOTHING, type Purged, sum } from './purge/protocol.js';
import type { LastRun } from './saved-state.js';
import type { RunOutcome } from './thread-protocol.js';

type Done = Extract<RunOutcome, { kind: 'run' }>;

export function lastRunOf(begin: number, end: number, { resumed, targets }: Done): LastRun {
  const purged = targets.reduce((all, target) => sum(all, target.purged), resumed);
  const space = targets.find(({ source }) => source === 'postern')?.space ?? null;
  return {
    begin,
    end,
    deleted: purged.deleted,
    refused: purged.young,
    kept: purged.kept,
    large: targets.reduce((count, { plan }) => count + plan.staying.large, 0),
    archives: targets.reduce((count, { archives }) => count + archives.length, 0),
    held: targets.flatMap(({ plan }) => plan.held),
    lock_ms: rounded(Math.max(purged.lock_ms, space?.lock_ms ?? 0)),
    free_bytes: space?.free_bytes ?? null,
    auto_vacuum: space?.auto_vacuum ?? null,
    error: null,
  };
}

/** What a run has done so far. */
export interface RunTally {
  archives: number;
  readonly purged: Partial<Record<PublicSource, Purged>>;
}

/** For a run that failed or was aborted: its deletions up to then are final. */
export function failedRunOf(begin: number, end: number, tally: RunTally, error: unknown): LastRun {
  const { deleted, young, kept, lock_ms: lock } = Object.values(tally.purged).reduce(sum, NOTHING);
  const nothing = { held: [], free_bytes: null, auto_vacuum: null };
  const { what, next } = toErrorParts(error);
  return {
    begin,
    end,
    deleted,
    archives: tally.archives,
    refused: young,
    kept,
    lock_ms: rounded(lock),
    ...nothing,
    error: messageOf(error),
    problem: { what, next },
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** `keptRows` in one text. */
export function keptRowsText(last: Pick<LastRun, 'refused' | 'kept' | 'large'>): string | null {
  return explainedProblem(keptRows(last));
}

/** Rows that a run left in the table although they were to be deleted; null if there are none. */
function keptRows({
  refused = 0,
  kept = 0,
  large = 0,
}: Pick<LastRun, 'refused' | 'kept' | 'large'>): Problem | null {
  const all = [tooYoung(refused), keptByTrigger(kept), tooLarge(large)].filter((one) => one !== null);
  if (all.length === 0) return null;
  const next = all.flatMap((one) => (one.next === null ? [] : [one.next]));
  return { what: all.map((one) => one.what).join('. '), next: next.length === 0 ? null : next.join('. ') };
}

function keptByTrigger(kept: number): Problem | null {
  if (kept === 0) return null;
  const rows = kept === 1 ? '1 row is' : `${groupedDigits(kept)} rows are`;
  return {
    what: `${rows} archived and still in the table: a trigger of the table keeps SQLite from deleting them`,
    next: 'Run postern-auditd check, which names the trigger',
  };
}

function tooLarge(large: number): Problem | null {
  if (large === 0) return null;
  const rows = large === 1 ? '1 row has' : `${groupedDigits(large)} rows have`;
  const what = `${rows} more than ${LARGEST_ROW / 2 ** 20} MiB, which no archive can hold: not archived, and not removed`;
  return { what, next: null };
}

function tooYoung(refused: number): Problem | null {
  if (refused === 0) return null;
  const [rows, they] =
    refused === 1 ? ['1 row is', 'it is'] : [`${groupedDigits(refused)} rows are`, 'they are'];
  return {
    what: `${rows} archived and not removed: to the purge, which reads the configuration itself, ${they} not old enough`,
    next: `If the configuration was changed, reload the daemon: ${daemonCommand('reload')}`,
  };
}

/** The audit events of a run, except those of its archives (deletion-ledger.ts). */
export function entriesOf({ targets }: Done): NewEntry[] {
  const entries: NewEntry[] = [];
  for (const { source, plan } of targets) {
    for (const { sink, since, rows } of plan.overridden) {
      const details = { source, sink, since: since === null ? null : new Date(since).toISOString(), rows };
      entries.push({ action: 'daemon.hold_override', details });
    }
  }
  return entries;
}
