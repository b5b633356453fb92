import type Database from 'better-sqlite3';
import { catalog, createClassifier } from '../audit/catalog.js';
import { nearest } from '../audit/did-you-mean.js';
import { createRedactor, type RedactionOptions, type Redactor } from '../audit/redaction.js';
import { AuditdError, messageOf } from '../errors.js';
import { COLUMNS, columnsOf, quoteIdentifier } from './audit-table.js';

export { type AuditIndex, auditIndexes, createAuditTable, type TableOptions } from './audit-table.js';

/** An event to record. Only `action` is required. */
export interface NewEntry {
  /** Canonical name of the catalog (docs/reference/EVENTS.md), `proxy_host.update`. */
  readonly action: string;
  /** Milliseconds since the epoch; now, if left out. Written in whole seconds, UTC. */
  readonly time?: number;
  readonly user?: {
    readonly id?: number | string | null;
    readonly name?: string | null;
    readonly email?: string | null;
  } | null;
  /** The category of the action, if left out. */
  readonly resourceType?: string | null;
  readonly resourceId?: number | string | null;
  /** The change: an object that JSON can hold. Secrets in it are masked before it is written. */
  readonly details?: Readonly<Record<string, unknown>> | null;
  /** Client address of the request. */
  readonly address?: string | null;
  readonly server?: string | null;
}

export interface RecorderOptions {
  /** Default `audit_log`. */
  readonly table?: string;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** Default: the built-in names of secrets, masked. */
  readonly redact?: RedactionOptions;
  /** Written where an entry names none. */
  readonly server?: string;
}

export interface Recorder {
  /**
   * Writes one row and returns its id. Opens no transaction: inside of the caller's, the change and its audit row commit
   * together or not at all.
   *
   * @throws AuditdError `USAGE` if the catalog has no such action, the time is invalid, or the details can't be written as JSON;
   *   errors of SQLite are thrown unchanged
   */
  record(entry: NewEntry): number;
}

const categories: ReadonlyMap<string, string> = new Map(
  catalog.map(({ action, category }) => [action, category]),
);
const classify = createClassifier();
const LATEST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
let usual: Redactor | null = null;

/**
 * Records audit events into a table that `createAuditTable` has created, or into Postern's own table with the same columns (only
 * `created_at` and `action` are required).
 *
 * @example
 * const recorder = createRecorder(db);
 * db.transaction(() => {
 *   updateHost(host);
 *   recorder.record({ action: 'proxy_host.update', user, resourceId: host.id, address: request.ip, details: { before, after } });
 * })();
 *
 * @throws AuditdError `USAGE` if there is no such table, or it lacks a required column
 */
export function createRecorder(db: Database.Database, options: RecorderOptions = {}): Recorder {
  const { table = 'audit_log', clock = Date.now, server = null } = options;
  const redact = options.redact === undefined ? redactAsUsual() : createRedactor(options.redact);
  const columns = writableColumns(db, table);
  const insert = db.prepare(
    `INSERT INTO ${quoteIdentifier(table)} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
  );
  const places = columns.map((column) => COLUMNS.indexOf(column));

  return {
    record(entry) {
      const category = categories.get(entry.action);
      if (category === undefined) throw unknownAction(entry.action);
      const { user, resourceId = null, details = null } = entry;
      const resourceType = entry.resourceType ?? category;
      const row = [
        written(entry.time ?? clock()),
        user?.id ?? null,
        user?.name ?? null,
        user?.email ?? null,
        rawAction(entry.action, category, resourceType),
        resourceType,
        resourceId === null ? null : String(resourceId),
        details === null ? null : redact(jsonOf(entry.action, details)),
        entry.address ?? null,
        entry.server ?? server,
      ];
      return Number(insert.run(places.map((place) => row[place])).lastInsertRowid);
    },
  };
}

function redactAsUsual(): Redactor {
  usual ??= createRedactor({ keys: [], mode: 'mask' });
  return usual;
}

function writableColumns(db: Database.Database, table: string): Array<(typeof COLUMNS)[number]> {
  const there = columnsOf(db, table);
  if (there.size === 0) {
    throw new AuditdError('USAGE', `There is no table ${table} to record into`, {
      next: 'Call createAuditTable(db) first',
    });
  }
  const missing = ['created_at', 'action'].find((column) => !there.has(column));
  if (missing !== undefined) {
    throw new AuditdError('USAGE', `Table ${table} has no column ${missing}`, {
      next: 'Name the table that is the audit log',
    });
  }
  return COLUMNS.filter((column) => there.has(column));
}

/** The word as Postern writes it, or the full name if the word would mean another event with this resource type. */
function rawAction(action: string, category: string, resourceType: string): string {
  const word = action.slice(category.length + 1);
  return classify(word, resourceType).action === action ? word : action;
}

/** `YYYY-MM-DD HH:MM:SS`, UTC: what SQLite's datetime('now') writes. */
function written(time: number): string {
  if (!(time >= 0 && time <= LATEST)) {
    throw new AuditdError('USAGE', `${time} is not a time`, {
      next: 'Give milliseconds since 1970, up to the year 9999',
    });
  }
  return new Date(time).toISOString().slice(0, 19).replace('T', ' ');
}

function jsonOf(action: string, details: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(details);
  } catch (error) {
    throw new AuditdError('USAGE', `The details of ${action} can't be written as JSON: ${messageOf(error)}`, {
      next: 'Give an object without cycles and BigInt',
      cause: error,
    });
  }
}

function unknownAction(action: string): AuditdError {
  const near = nearest(action, [...categories.keys()]);
  const next = near === null ? 'See docs/reference/EVENTS.md, which lists them all' : `Did you mean ${near}?`;
  return new AuditdError('USAGE', `The catalog has no action ${JSON.stringify(action)}`, { next });
}
