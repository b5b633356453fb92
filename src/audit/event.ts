import type { EventType } from './catalog.js';

/** Where a row stands: Postern's own table, the table of what this daemon itself has to report, or that of other servers' failed logins. */
export type SourceName = 'postern' | 'auditd' | 'fleet';

/** Those whose entries people see, query and archive. */
export type PublicSource = Exclude<SourceName, 'fleet'>;

/** What a column of SQLite holds: INTEGER as bigint, REAL as number. */
export type ColumnValue = null | bigint | number | string | Buffer;

/** Who did it. Ids are text, whatever type the column has. */
export interface EventUser {
  readonly id: string | null;
  readonly name: string | null;
  readonly email: string | null;
}

/** What it was done to. */
export interface EventResource {
  readonly type: string | null;
  readonly id: string | null;
}

/** One row of an audit table, read, parsed and with its secrets masked. Immutable and shared by all sinks. */
export interface AuditEvent {
  readonly source: SourceName;
  /** 1 for the first database seen; one more each time another history is found behind the same path. */
  readonly timeline: number;
  /** Row id. */
  readonly sequence: number;
  /** 32 hex digits: a hash of source id, row id and the mapped columns. Its first 16 are the fingerprint. */
  readonly id: string;
  /** The row's own time, milliseconds since the epoch, UTC; null where it can't be read. */
  readonly time: number | null;
  /** What stood in `created_at`, where `time` is null. */
  readonly rawTime: string | null;
  /** When this daemon read the row, milliseconds since the epoch. */
  readonly ingested: number;
  /** The catalog's entry; for what the catalog does not know, an informational one made for it. */
  readonly type: EventType;
  /** Canonical `<category>.<action>`, equal to `type.action`. */
  readonly action: string;
  /** The word that stood in the row. */
  readonly rawAction: string;
  readonly user: EventUser;
  readonly resource: EventResource;
  /** Client address in canonical text (RFC 5952; IPv4-mapped as IPv4, no zone, no port); null if it is no address. */
  readonly address: string | null;
  /** What stood in `ip_address`, where that is not exactly `address`. Never to be trusted. */
  readonly rawAddress: string | null;
  /** The row's `server`, else the configured name of this one. */
  readonly server: string;
  /** True if the row named no server or this one: only such failures may ban here. */
  readonly local: boolean;
  /** Compact JSON text of an object, secrets masked; null if the column is, or is empty. What was no JSON object stands under `text` or `value`. */
  readonly details: string | null;
  /**
   * Of a row of the source `auditd` that is a later version of an edited row of Postern's: the id of that row. Null of everything else. No
   * part of the hash and of `details`, so that neither a client can forge it nor an id changes by it.
   */
  readonly revisionOf: number | null;
  /** Of a revision: what the edited row says that it is, where `type` is only `daemon.row_edited`. */
  readonly revisedType?: EventType | undefined;
  /** created_at to server as the table holds them, in that order, but for `details`, which is as above. Left out: made by no table. */
  readonly columns?: readonly ColumnValue[];
}

/** The id people and programs see: `postern:4711`. */
export function publicId(event: Pick<AuditEvent, 'source' | 'sequence'>): string {
  return `${event.source}:${event.sequence}`;
}
