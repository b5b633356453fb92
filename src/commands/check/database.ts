import { closeSync, openSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { createClassifier } from '../../audit/catalog.js';
import type { Config } from '../../config/schema.js';
import { codeOf, isDenied } from '../../errors.js';
import { failureFindings, type LoginCount, loginFindings } from '../../fail2ban/proxy-warnings.js';
import { UncataloguedFailures } from '../../fail2ban/uncatalogued-failures.js';
import { groupedDigits } from '../../grouped-digits.js';
import { SILENT_LOG } from '../../silent-log.js';
import type { Finding } from '../../sinks/sink.js';
import { sleepSync } from '../../sleep-sync.js';
import { createPosternSource } from '../../source/postern-source.js';
import { readInPlace } from '../../source/read-in-place.js';
import type { AuditSource, ReadResult } from '../../source/source.js';
import { unreadableDatabase } from '../../source/waiting-reasons.js';
import { temporaryDirectory } from '../support/exit-cleanup.js';
import { formatCount } from '../support/terminal.js';
import { partsOf } from './report.js';
import { FailureSample } from './silence.js';

/** Logins are counted over this many of the newest rows: enough to see where users log in from, and read within a second. */
const NEWEST = 50_000;
const PAGE = 5_000;

/** States in which the daemon waits, as it should: Postern may be stopped, or not installed yet. */
const WAITS: ReadonlySet<ReadResult['state']> = new Set(['missing', 'stopped', 'recovering']);

/** A lock that is held for this long is not that of a commit. */
const LOCKED_MS = 2_000;

/** Whether the table can be read by this user, and who logs in from where. */
export function inspectDatabase(config: Config): Finding[] {
  const denied = deniedAs(config.source.database);
  if (denied !== null) return [denied];
  const { source, privateDirectory, remove } = open(config);
  try {
    const look = retryWhileLocked(() => page(source, 0, 1));
    if (look.state !== 'reading') return [waiting(look)];
    const postern = look.postern === 'running' ? '' : ' (Postern is stopped; read from a copy)';
    const rows = look.maxId === 0 ? 'no rows yet' : `rows up to ${groupedDigits(look.maxId)}`;
    const what = `${config.source.database}, table ${config.source.table}: ${rows}${postern}`;
    const journalMode = journal(config.source.database);
    return [{ level: 'ok', what }, ...journalMode, ...logins(source, look.maxId, config, privateDirectory)];
  } finally {
    remove();
  }
}

/** For root that acts as the daemon's user: access(2) would check root's rights, so the file is opened. */
function deniedAs(database: string): Finding | null {
  if (process.geteuid?.() === process.getuid?.()) return null;
  try {
    closeSync(openSync(database, 'r'));
    return null;
  } catch (error) {
    if (!isDenied(error)) return null;
    return { level: 'error', ...partsOf(unreadableDatabase(database, codeOf(error))) };
  }
}

/** Successful logins in the newest rows, by address; none where the table can't be read. */
export function recentLogins(config: Config): LoginCount[] {
  const { source, remove } = open(config);
  try {
    const look = page(source, 0, 1);
    return look.state === 'reading' ? countLogins(source, look.maxId).succeeded : [];
  } finally {
    remove();
  }
}

function open(config: Config): { source: AuditSource; privateDirectory: string; remove: () => void } {
  const { path: privateDirectory, remove } = temporaryDirectory('check');
  const source = createPosternSource({
    config: config.source,
    server: config.server ?? hostname(),
    sourceId: '0'.repeat(32),
    classify: createClassifier(config.source.aliases),
    redact: () => null,
    history: { fingerprintOf: () => null },
    privateDirectory,
    clock: Date.now,
    log: SILENT_LOG,
  });
  return { source, privateDirectory, remove };
}

function retryWhileLocked(look: () => ReadResult): ReadResult {
  const end = performance.now() + LOCKED_MS;
  for (;;) {
    const found = look();
    if (!['locked', 'exclusive'].includes(found.state) || performance.now() > end) return found;
    sleepSync(20);
  }
}

/** With a rollback journal no commit is possible during a read, however short. */
function journal(database: string): Finding[] {
  const attempt = readInPlace(database, (db) => db.pragma('journal_mode', { simple: true }));
  if (attempt.kind !== 'done' || attempt.value === 'wal') return [];
  const what = `${database} has a rollback journal: a commit of Postern during a read, a page or an export has to wait, and fails when Postern sets no busy timeout`;
  const next =
    'have Postern set PRAGMA journal_mode=WAL once, or a busy_timeout of a second (docs/internals/SOURCE.md)';
  return [{ level: 'warning', what, next }];
}

function page(source: AuditSource, after: number, maxRows: number): ReadResult {
  const mark = { timeline: 1, id: 0, fingerprint: null };
  return source.read({ mark, after, maxRows, maxBytes: 16 * 2 ** 20 });
}

function waiting(look: Exclude<ReadResult, { state: 'reading' }>): Finding {
  if (look.state === 'replaced') return { level: 'error', what: look.reason };
  const access = look.state === 'unreadable' ? ({ access: true } as const) : {};
  return { level: WAITS.has(look.state) ? 'warning' : 'error', ...partsOf(look), ...access };
}

/** Whether failed logins reach fail2ban, and warnings about bans that would lock out others than the attacker. */
function logins(source: AuditSource, maxId: number, config: Config, privateDirectory: string): Finding[] {
  const { succeeded, failedBy, logins: successes, failed, sample, unknown } = countLogins(source, maxId);
  if (!config.fail2ban.enabled) {
    if (successes + failed === 0) return [];
    const what = `${formatCount(successes, 'login')} and ${formatCount(failed, 'failed login')} in the newest rows`;
    return [{ level: 'ok', what }];
  }
  const silent = Object.values(config.sinks).some(({ type }) => type === 'fail2ban')
    ? [...sample.findings(config, privateDirectory), ...unknown.findings(failed)]
    : [];
  const { never_ban: neverBan } = config.fail2ban;
  const findings = [
    ...silent,
    ...loginFindings(succeeded, neverBan, bridges()),
    ...failureFindings(failedBy, succeeded, neverBan, bridges()),
  ];
  if (findings.length > 0 || successes + failed === 0) return findings;
  const what = `${formatCount(successes, 'login')} and ${formatCount(failed, 'failed login')} in the newest rows; none from an address whose ban would lock out others`;
  return [{ level: 'ok', what }];
}

interface Logins {
  /** By address, where there is one. */
  readonly succeeded: LoginCount[];
  readonly failedBy: LoginCount[];
  readonly logins: number;
  readonly failed: number;
  readonly sample: FailureSample;
  readonly unknown: UncataloguedFailures;
}

function countLogins(source: AuditSource, maxId: number): Logins {
  const [counts, failures] = [new Map<string, number>(), new Map<string, number>()];
  const sample = new FailureSample();
  const unknown = new UncataloguedFailures();
  let [logins, failed] = [0, 0];
  for (let after = Math.max(0, maxId - NEWEST); ; ) {
    const look = page(source, after, PAGE);
    if (look.state !== 'reading') break;
    for (const event of look.events) {
      const { action, address } = event;
      if (action === 'auth.login_failure') {
        failed++;
        sample.add(event);
        if (address !== null) failures.set(address, (failures.get(address) ?? 0) + 1);
      }
      unknown.add(event);
      if (action !== 'auth.login_success') continue;
      logins++;
      if (address !== null) counts.set(address, (counts.get(address) ?? 0) + 1);
    }
    after = look.upTo;
    if (!look.more || look.events.length === 0) break;
  }
  return { succeeded: listed(counts), failedBy: listed(failures), logins, failed, sample, unknown };
}

function listed(counts: ReadonlyMap<string, number>): LoginCount[] {
  return [...counts].map(([address, logins]) => ({ address, logins }));
}

/** Networks of container bridges on this host. */
function bridges(): string[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => /^(docker|br-|podman|cni|virbr|lxcbr)/.test(name))
    .flatMap(([, addresses]) => (addresses ?? []).map(({ cidr }) => cidr))
    .filter((cidr) => cidr !== null);
}
