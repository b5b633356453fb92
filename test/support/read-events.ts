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

// In the daemon, rows have a class of their own with some accessors. Object literals in its place have hidden
// faults, so the reader itself reads the events of tests from a real table.

/** The columns of a row; an omitted one is NULL. */
export type TestRow = { readonly [Column in (typeof COLUMNS)[number]]?: unknown };

export interface ReadOptions {
  readonly source?: SourceName;
  readonly timeline?: number;
  /** Row id. */
  readonly sequence?: number;
  /** `event.id`; default: computed from the row. */
  readonly id?: string;
  readonly ingested?: number;
  /** The name of this server. */
  readonly server?: string;
  /** Whether the row is from another server. */
  readonly foreign?: boolean;
  /** Id of the row of which this one is a later version. */
  readonly revisionOf?: number | null;
  /** For a version: the current action of the edited row. */
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
  // Columns without types keep any value that a program wrote.
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

/** Writes a row into a table and reads its event. */
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
  // Details are parsed on first use, and the next row may have another redactor.
  void event.details;
  return event;
}

/** A changed copy of an event, from a row with the changed values. A value that no row can have is read as the reader does. */
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
