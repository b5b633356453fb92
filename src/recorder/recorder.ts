import type Database from 'better-sqlite3';
import { catalog } from '../audit/catalog.js';
import { createRedactor, type RedactionOptions } from '../audit/redaction.js';
import { AuditdError } from '../errors.js';
import { quoted } from './table.js';

export { createAuditTable } from './table.js';

/** What happened. Only `action` must be given. */
export interface NewEntry {
  /** Canonical name of the catalog, `proxy_host.update`. */
  readonly action: string;
  /** Milliseconds since the epoch; now, if left out. Written in whole seconds, UTC. */
  readonly time?: number;
  readonly user?: {
    readonly id?: number | string | null;
    readonly name?: string | null;
    readonly email?: string | null;
  };
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
   * @throws AuditdError `USAGE` if the catalog has no such action; SQLite's own errors as they are
   */
  record(entry: NewEntry): number;
}

const known: ReadonlyMap<string, string> = new Map(catalog.map(({ action, category }) => [action, category]));

/**
 * Records audit events into the table that `createAuditTable` makes.
 *
 * @example
 * const recorder = createRecorder(db);
 * db.transaction(() => {
 *   updateHost(host);
 *   recorder.record({ action: 'proxy_host.update', user, resourceId: host.id, address: request.ip, details: { before, after } });
 * })();
 */
export function createRecorder(db: Database.Database, options: RecorderOptions = {}): Recorder {
  const clock = options.clock ?? Date.now;
  const redact = createRedactor(options.redact ?? { keys: [], mode: 'mask' });
  const insert = db.prepare(
    `INSERT INTO ${quoted(options.table ?? 'audit_log')}
     (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  return {
    record(entry) {
      const category = known.get(entry.action);
      if (category === undefined) throw unknownAction(entry.action);
      const { user = {} } = entry;
      const result = insert.run(
        new Date(entry.time ?? clock()).toISOString().slice(0, 19).replace('T', ' '),
        user.id ?? null,
        user.name ?? null,
        user.email ?? null,
        entry.action.slice(category.length + 1),
        entry.resourceType ?? category,
        entry.resourceId == null ? null : String(entry.resourceId),
        entry.details == null ? null : redact(JSON.stringify(entry.details)),
        entry.address ?? null,
        entry.server ?? options.server ?? null,
      );
      return Number(result.lastInsertRowid);
    },
  };
}

function unknownAction(action: string): AuditdError {
  const category = action.split('.')[0] ?? '';
  const near = [...known].filter(([, of]) => of === category).map(([name]) => name);
  const allowed =
    near.length > 0 ? near.join(', ') : [...new Set(known.values())].map((name) => `${name}.…`).join(', ');
  return new AuditdError('USAGE', `The catalog has no action "${action}". Use one of: ${allowed}`);
}
