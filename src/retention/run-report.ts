import type { PublicSource } from '../audit/event.js';
import type { NewEntry } from '../recorder/recorder.js';
import { LARGEST_ROW } from './archive/row-size-limit.js';
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

/** What a run has done up to now. */
export interface RunTally {
  archives: number;
  readonly purged: Partial<Record<PublicSource, Purged>>;
}

/** Of a run that failed, or was broken off: what it had done until then is done. */
export function failedRunOf(begin: number, end: number, tally: RunTally, error: string): LastRun {
  const { deleted, young, kept, lock_ms: lock } = Object.values(tally.purged).reduce(sum, NOTHING);
  const nothing = { held: [], free_bytes: null, auto_vacuum: null };
  return {
    begin,
    end,
    deleted,
    archives: tally.archives,
    refused: young,
    kept,
    lock_ms: rounded(lock),
    ...nothing,
    error,
  };
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** What is said of a run of which the purge would not delete all rows; null if it did. */
export function keptRowsText({
  refused = 0,
  kept = 0,
  large = 0,
}: Pick<LastRun, 'refused' | 'kept' | 'large'>): string | null {
  const sentences = [tooYoung(refused), keptByTrigger(kept), tooLarge(large)].filter(
    (words) => words !== null,
  );
  return sentences.length === 0 ? null : sentences.join('. ');
}

function keptByTrigger(kept: number): string | null {
  if (kept === 0) return null;
  const rows = kept === 1 ? '1 row is' : `${kept.toLocaleString('en')} rows are`;
  return `${rows} archived and still in the table: SQLite did not delete what it was told to, as a trigger of the table will have it (postern-auditd check names it)`;
}

function tooLarge(large: number): string | null {
  if (large === 0) return null;
  const rows = large === 1 ? '1 row has' : `${large.toLocaleString('en')} rows have`;
  return `${rows} more than ${LARGEST_ROW / 2 ** 20} MiB, which no archive can have: not archived, and not removed`;
}

function tooYoung(refused: number): string | null {
  if (refused === 0) return null;
  const [rows, they] =
    refused === 1 ? ['1 row is', 'it is'] : [`${refused.toLocaleString('en')} rows are`, 'they are'];
  const next = 'If the configuration was changed: systemctl reload postern-auditd';
  return `${rows} archived and not removed: to the purge, which reads the configuration itself, ${they} not old enough. ${next}`;
}

/** The audit events of a run besides those of its archives (ledger.ts). */
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
