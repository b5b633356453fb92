import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAddress } from '../../src/audit/address.js';
import { type Classifier, createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent, EventChanges, SourceName } from '../../src/audit/event.js';
import { createRedactor, type Redactor } from '../../src/audit/redaction.js';
import Database from '../../src/load-sqlite.js';
import { COLUMNS } from '../../src/recorder/audit-table.js';
import { createOwnSource, type OwnSource } from '../../src/source/auditd-source.js';

// Rows have a class of their own in the daemon, some members of which are accessors. An object literal in its place has hidden
// faults, so events of tests are read from a real table by the reader itself.

/** What stands in a row; NULL where it is left out. */
export type TestRow = { readonly [Column in (typeof COLUMNS)[number]]?: unknown };

export interface ReadOptions {
  readonly source?: SourceName;
  readonly timeline?: number;
  /** Row id. */
  readonly sequence?: number;
  /** `event.id`; else it is made from the row. */
  readonly id?: string;
  readonly ingested?: number;
  /** The name of this server. */
  readonly server?: string;
  /** The row is of another server. */
  readonly foreign?: boolean;
  /** The row is a later version of this one. */
  readonly revisionOf?: number | null;
  /** Of a version: the word that stands in the row that it is of. */
  readonly revisedAction?: string | null;
  readonly classify?: Classifier;
  readonly redact?: Redactor;
}

const SOURCE_ID = '00112233445566778899aabbccddeeff';
const INGESTED = Date.UTC(2026, 10, 22, 20, 21, 1);

const defaults = {
  timeline: 1,
  sequence: 4711,
  ingested: INGESTED,
  classify: createClassifier(),
  redact: createRedactor({ keys: [], mode: 'mask' }),
};

let current: typeof defaults & { id?: string } = defaults;
let db: Database | null = null;
const sources = new Map<string, OwnSource>();

function table(): Database {
  if (db !== null) return db;
  const directory = mkdtempSync(join(tmpdir(), 'postern-events-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  db = new Database(join(directory, 'posternproxy.db'));
  db.pragma('synchronous = OFF');
  // Without types: a column then holds whatever a program wrote.
  db.exec(
    `CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, ${COLUMNS.join(', ')}, revision_of, revised_action)`,
  );
  return db;
}

function sourceFor(name: SourceName, server: string, foreign: boolean): OwnSource {
  const key = JSON.stringify([name, server, foreign]);
  const known = sources.get(key);
  if (known !== undefined) return known;
  const made = createOwnSource({
    name,
    db: table(),
    foreign,
    table: 'audit_log',
    sourceId: SOURCE_ID,
    server,
    classify: (action, resourceType) => current.classify(action, resourceType),
    redact: (details) => current.redact(details),
    clock: () => current.ingested,
    idOf: () => current.id ?? null,
  });
  if (sources.size > 50) sources.clear();
  sources.set(key, made);
  return made;
}

/** The event of a row that was written into a table and read from it. */
export function readRow(row: TestRow, options: ReadOptions = {}): AuditEvent {
  const {
    source = 'postern',
    server = 'pp1.example.net',
    foreign = false,
    revisionOf = null,
    revisedAction = null,
    ...rest
  } = options;
  current = { ...defaults, ...rest };
  const values = [
    BigInt(current.sequence),
    ...COLUMNS.map((column) => row[column] ?? null),
    revision(revisionOf),
    revisedAction,
  ];
  const holes = values.map(() => '?').join(', ');
  table()
    .prepare(
      `INSERT OR REPLACE INTO audit_log (id, ${COLUMNS.join(', ')}, revision_of, revised_action) VALUES (${holes})`,
    )
    .run(values);
  const event = sourceFor(source, server, foreign).row(current.sequence, current.timeline);
  if (event === null) throw new Error('the row is not there');
  // They are read when first asked for, and the next row may have another redactor.
  void event.details;
  return event;
}

/** Another event, from a row that would say of itself what is changed. What no row can say comes as the reader reads it. */
export function readBack(event: AuditEvent, changes: EventChanges = {}): AuditEvent {
  const {
    source,
    timeline,
    sequence,
    id,
    ingested,
    type,
    rawAction,
    user,
    resource,
    server,
    local,
    details,
    revisionOf,
  } = {
    source: event.source,
    timeline: event.timeline,
    sequence: event.sequence,
    id: event.id,
    ingested: event.ingested,
    type: event.type,
    rawAction: event.rawAction,
    user: event.user,
    resource: event.resource,
    server: event.server,
    local: event.local,
    details: event.details,
    revisionOf: event.revisionOf,
    ...changes,
  };
  const row = {
    created_at: timeIn(event, changes),
    user_id: user.id,
    user_name: user.name,
    user_email: user.email,
    action: rawAction,
    resource_type: resource.type,
    resource_id: resource.id,
    details,
    ip_address: addressIn(event, changes),
  };
  const classify = () => type;
  return readRow(row, {
    source,
    timeline,
    sequence,
    id,
    ingested,
    server,
    foreign: !local,
    revisionOf,
    classify,
  });
}

function revision(of: number | null): bigint | null {
  return of === null ? null : BigInt(of);
}

function timeIn(event: AuditEvent, changes: EventChanges): string | null {
  const { time = event.time, rawTime = event.rawTime } = changes;
  return time === null ? rawTime : new Date(time).toISOString();
}

function addressIn(event: AuditEvent, changes: EventChanges): string | null {
  const { address = event.address, rawAddress = event.rawAddress } = changes;
  if (address === null || rawAddress === null) return address ?? rawAddress;
  if (parseAddress(rawAddress) === address) return rawAddress;
  return address.includes(':') ? `[${address}]:443` : `::ffff:${address}`;
}
