import { createPrivateKey } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Database } from 'better-sqlite3';
import { formatSize } from '../../config/duration-and-size.js';
import type { Config } from '../../config/schema.js';
import { AuditdError, isDenied, messageOf } from '../../errors.js';
import { atInstance } from '../../instance.js';
import { allowWriting, setUpAgain } from '../../next-steps.js';
import { DatabaseReader } from '../../query/database-reader.js';
import { compressorOf } from '../../retention/archive/compression.js';
import { checkDeletable, deleteTriggers } from '../../retention/deletable.js';
import { LEGAL_RECORDS, legalRecordsIn } from '../../retention/legal-hold-store.js';
import { readLegalHolds } from '../../retention/legal-holds.js';
import { Notes } from '../../retention/saved-state.js';
import { readNote } from '../../shipping/state-queries.js';
import { SILENT_LOG } from '../../silent-log.js';
import type { Finding } from '../../sinks/sink.js';
import { type AuditTable, TableCache } from '../../source/table-schema.js';
import { temporaryDirectory } from '../support/exit-cleanup.js';
import { openStateReader } from '../support/state-reader.js';
import { type Times, utcTime } from '../support/times.js';
import { partsOf, partsOfError } from './report.js';
import { hasDaemonUnit } from './units.js';

/** What would make a run of retention fail. */
export function inspectRetention(config: Config, times: Times = utcTime): Finding[] {
  const { source, retention, state, min_free: minFree } = config;
  const where = place(retention.archive.directory, minFree);
  const holds = where.some(({ level }) => level === 'error') ? [] : legalHolds(config);
  if (!retention.enabled) return [{ level: 'ok', what: 'off: entries are kept indefinitely' }, ...holds];
  const findings = [
    ...lastRun(state, times),
    ...where,
    ...compression(retention.archive.compression),
    ...key(retention.archive.sign),
    ...purge(),
    ...table(source),
  ];
  if (findings.some(({ level }) => level !== 'warning')) return [...findings, ...holds];
  return [
    ...findings,
    { level: 'ok', what: `on, ${retention.schedule} (UTC), archives in ${retention.archive.directory}` },
    ...holds,
  ];
}

/** Nothing is deleted while a record of a legal hold is missing or was changed. */
function legalHolds({ state, retention }: Config): Finding[] {
  const ledger = openStateReader(state);
  try {
    const note = 'why' in ledger ? null : readNote(ledger.db, LEGAL_RECORDS);
    const { inForce } = readLegalHolds(retention.archive.directory, legalRecordsIn(note));
    if (inForce.length === 0) return [];
    return [{ level: 'ok', what: `legal holds in force: ${inForce.length} (postern-auditd retain holds)` }];
  } catch (error) {
    return [{ level: 'error', ...partsOfError(error) }];
  } finally {
    if (!('why' in ledger)) ledger.close();
  }
}

function place(directory: string, minFree: number): Finding[] {
  let at = directory;
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at);
  if (!statSync(at).isDirectory()) {
    const next = 'move it away, or set another retention.archive.directory';
    return [{ level: 'error', what: `${at} is not a directory: no archive can be created there`, next }];
  }
  try {
    requireWritable(at);
  } catch {
    const next = allowWriting(at);
    return [
      {
        level: 'error',
        what: `${at} can't be written by this user: no archive can be created there`,
        next,
        access: true,
      },
    ];
  }
  const { bavail, bsize, blocks } = statfsSync(at);
  const least = Math.min(minFree, 0.05 * blocks * bsize);
  if (bavail * bsize >= least) return [];
  const free = formatSize(Math.floor((bavail * bsize) / 2 ** 20) * 2 ** 20);
  const next = 'free disk space there, or set another retention.archive.directory';
  return [
    {
      level: 'error',
      what: `${at} has ${free} left, less than min_free: nothing is archived or removed`,
      next,
    },
  ];
}

/** For root that acts as the daemon's user access(2) would check root's rights, so a directory is created. @throws if that fails */
function requireWritable(directory: string): void {
  if (process.geteuid?.() === process.getuid?.()) accessSync(directory, constants.W_OK);
  else rmdirSync(mkdtempSync(join(directory, '.check-')));
}

function compression(name: Config['retention']['archive']['compression']): Finding[] {
  try {
    compressorOf(name);
    return [];
  } catch (error) {
    return [{ level: 'error', ...partsOfError(error) }];
  }
}

function key(path: string | null): Finding[] {
  if (path === null) return [];
  try {
    const { asymmetricKeyType } = createPrivateKey(readFileSync(path));
    if (asymmetricKeyType === 'ed25519') return [];
    const what = `${path} is a key of type ${asymmetricKeyType}, but archives are signed with ed25519`;
    return [{ level: 'error', what, next: 'create one with openssl genpkey -algorithm ed25519' }];
  } catch (error) {
    const next = 'create one with openssl genpkey -algorithm ed25519, readable by the daemon';
    const denied = isDenied(error) ? ({ access: true } as const) : {};
    return [{ level: 'error', what: `the key ${path} can't be used: ${messageOf(error)}`, next, ...denied }];
  }
}

/** A daemon that runs as a unit can't write to the database itself. */
function purge(): Finding[] {
  const unit = `postern-auditd-purge${atInstance()}`;
  const socket = `/run/${unit}.sock`;
  if (!hasDaemonUnit() || existsSync(socket)) return [];
  const next = `${setUpAgain()}, or: systemctl enable --now ${unit}.socket`;
  return [{ level: 'error', what: `${socket} is missing: rows are archived but can't be removed`, next }];
}

/** A failed last run: nothing is removed until one succeeds. */
function lastRun(state: string, times: Times): Finding[] {
  const ledger = openStateReader(state);
  if ('why' in ledger) return [];
  try {
    const { memory } = new Notes({ note: ledger.note, setNote: () => undefined });
    const last = memory?.last ?? null;
    if (last === null || last.error === null) return [];
    const { what, next = 'correct the cause, then run postern-auditd retain --now' } = partsOf(
      last.problem ?? { what: last.error, next: null },
    );
    return [{ level: 'error', what: `the last run, at ${times(last.end)}, failed: ${what}`, next }];
  } finally {
    ledger.close();
  }
}

/** What in the schema prevents the removal of rows. The database section reports a table that can't be read. */
function table(source: Config['source']): Finding[] {
  const { path, remove } = temporaryDirectory('check');
  // Also of a Postern that is stopped, whose database is read from a copy.
  const opening = new DatabaseReader(source.database, join(path, 'copy'), SILENT_LOG);
  try {
    return opening.read((db): Finding[] => {
      const found = new TableCache(source).get(db);
      return 'state' in found ? [] : deletable(db, found);
    });
  } catch (error) {
    if (error instanceof AuditdError) return [];
    throw error;
  } finally {
    opening.close();
    remove();
  }
}

function deletable(db: Database, found: AuditTable): Finding[] {
  try {
    checkDeletable(db, found);
  } catch (error) {
    return [{ level: 'error', ...partsOfError(error) }];
  }
  const triggers = deleteTriggers(db, found);
  if (triggers.length === 0) return [];
  const what = `table ${found.name} has triggers that run at each deletion: ${triggers.join(', ')}`;
  const next =
    'check that they allow deletions, and change nothing that has to stay: retention runs them for each row';
  return [{ level: 'warning', what, next }];
}
