import { groupedDigits } from '../../grouped-digits.js';
import type { ExpiryStatus } from '../../retention/archive-guard.js';
import type { LegalStatus, ShownHold } from '../../retention/legal-hold-store.js';
import { LOCK_LIMIT_MS } from '../../retention/purge/batch-pacing.js';
import type { RunProgress } from '../../retention/run.js';
import { keptRowsText } from '../../retention/run-report.js';
import type { LastRun } from '../../retention/saved-state.js';
import type { RetentionStatus } from '../../retention/scheduler.js';
import type { DryTarget } from '../../retention/thread-protocol.js';
import { aligned, formatCount } from '../support/terminal.js';
import { shownTime, type Times } from '../support/times.js';

const WORDS: Readonly<Record<RunProgress['phase'], string>> = {
  resuming: 'finishing the previous run',
  looking: 'selecting rows',
  archiving: 'archiving',
  purging: 'removing',
};

export function partOf({ done, of }: RunProgress): number {
  return of === 0 ? 1 : Math.min(1, done / of);
}

export function runProgressText({ phase, source, month }: RunProgress): string {
  return `${source}: ${WORDS[phase]} ${month ?? ''}`.trim();
}

/** The result of a dry run as text. */
export function renderDry(targets: readonly DryTarget[], times: Times): string {
  return `${targets.flatMap((target) => [...renderTarget(target, times), '']).join('\n')}`;
}

function renderTarget(target: DryTarget, times: Times): string[] {
  const { source, going, staying, held, overridden, rows, reference } = target;
  const total = going.reduce((sum, { rows: some }) => sum + some, 0);
  const since = reference === null ? '' : `, ages counted from ${times(reference)}`;
  const kept: ReadonlyArray<readonly [number, string]> = [
    [staying.young, 'not old enough'],
    [staying.forever, 'kept for ever'],
    [staying.held, 'old enough, and held back for a sink'],
    [staying.legal_hold ?? 0, 'old enough, and under a legal hold'],
    [staying.future, 'in the future'],
    [staying.undated, 'without a readable time'],
    [staying.large ?? 0, 'too large for an archive'],
  ];
  return [
    `${source}: ${formatCount(total, 'row')} of ${groupedDigits(rows)} would be removed${since}`,
    ...aligned(
      going.map(({ month, category, rows: some, early }) => [
        month,
        category,
        formatCount(some, 'row'),
        early > 0 ? `${groupedDigits(early)} of them before they reach their age` : '',
      ]),
      '  ',
    ),
    ...kept
      .filter(([number]) => number > 0)
      .map(([number, why]) => `  kept: ${formatCount(number, 'row')} ${why}`),
    ...held.map(({ sink, rows: some, since: from }) => `  ${holding(sink, some, from, times)}`),
    ...overridden.map(
      ({ sink, rows: some }) =>
        `  ${formatCount(some, 'row')} would be removed although ${sink} has not received them (max_hold)`,
    ),
  ];
}

function holding(sink: string, rows: number, since: number | null, times: Times): string {
  const lag =
    since === null ? 'it has not received them yet' : `it has made no progress since ${times(since)}`;
  return `sink ${sink} holds back ${formatCount(rows, 'row')}: ${lag}`;
}

/** Lines of `status`. */
export function renderRetention(status: RetentionStatus, times: Times): string[] {
  const { enabled, next, waiting, run, last, expiry } = status;
  const holds = renderLegal(status.legal_holds, times).map((line) => `  ${line}`);
  if (!enabled) return ['retention: off, entries are kept indefinitely', ...holds];
  const now =
    run?.state === 'running' && run.kind !== 'dry'
      ? 'running'
      : `next run ${shownTime(next, times, 'never: no year has a day that retention.schedule names')}`;
  return [
    `retention: ${waiting === null ? now : `waiting: ${waiting}`}`,
    ...(last === null ? [] : renderLast(last, times).map((line) => `  ${line}`)),
    ...(expiry == null ? [] : [`  ${renderExpiry(expiry)}`]),
    ...holds,
  ];
}

/** One line per hold; a daemon of an earlier version reports none. */
function renderLegal(status: LegalStatus | undefined, times: Times): string[] {
  if (status === undefined) return [];
  const { in_force: holds, trouble } = status;
  return [
    ...holds.map(
      (hold) => `legal hold ${hold.id}, since ${shownTime(hold.created, times)}: ${filterWords(hold, times)}`,
    ),
    ...(trouble === null ? [] : [trouble]),
  ];
}

/** The filter of a hold as text. */
export function filterWords({ filter }: Pick<ShownHold, 'filter'>, times: Times): string {
  const { user, from, to, resource_type: type, resource_id: id } = filter;
  const words = [
    ...(user === undefined ? [] : [`user ${user}`]),
    ...(type === undefined ? [] : [`resource ${type}${id === undefined ? '' : `/${id}`}`]),
    ...(from === undefined ? [] : [`from ${shownTime(from, times)}`]),
    ...(to === undefined ? [] : [`to ${shownTime(to, times)}`]),
  ];
  return words.length === 0 ? 'all rows' : words.join(', ');
}

/** The expired archives that still exist, and what they wait for. */
export function renderExpiry({ archives, wait, clock_known: known }: ExpiryStatus): string {
  const past = `${formatCount(archives, 'archive')} past archive.keep`;
  if (wait > 0) {
    const hours = Math.ceil(wait / 3_600_000);
    return `${past}: the oldest can be removed after ${hours} h more of running time`;
  }
  return known === false
    ? `${past} stay: the kernel does not report a synchronised clock. If the clock is right: postern-auditd retain --confirm-clock`
    : `${past} can be removed by the next run`;
}

/** The result of a run as text. */
export function renderLast(last: LastRun, times: Times): string[] {
  const seconds = ((last.end - last.begin) / 1_000).toFixed(1);
  if (last.error !== null) {
    const before = `${formatCount(last.deleted, 'row')} had already been removed, ${formatCount(last.archives, 'archive')} written`;
    return [`failed at ${times(last.end)}: ${last.error}`, ...(last.deleted === 0 ? [] : [before])];
  }
  const lines = [
    `${formatCount(last.deleted, 'row')} removed, ${formatCount(last.archives, 'archive')} written, in ${seconds} s (${times(last.begin)})`,
    ...last.held.map(({ sink, rows, since }) => holding(sink, rows, since, times)),
  ];
  const refused = keptRowsText(last);
  if (refused !== null) lines.push(refused);
  if (last.lock_ms > LOCK_LIMIT_MS)
    lines.push(`Postern had to wait up to ${last.lock_ms} ms for a single commit: this disk is slow`);
  if (last.free_bytes !== null && last.free_bytes > 2 ** 20) {
    const megabytes = groupedDigits(Math.floor(last.free_bytes / 2 ** 20));
    lines.push(
      last.auto_vacuum === 'incremental'
        ? `${megabytes} MiB in the database are free, and the next run returns them to the disk`
        : `${megabytes} MiB in the database are free for new rows. To return them to the disk, stop Postern and run: sqlite3 DATABASE VACUUM`,
    );
  }
  return lines;
}
