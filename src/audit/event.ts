import type { EventType } from './catalog.js';

/** The table of a row: Postern's own, that of the daemon's own events, or that of other servers' failed logins. */
export type SourceName = 'postern' | 'auditd' | 'fleet';

/** The sources whose entries people see, query and archive. */
export type PublicSource = Exclude<SourceName, 'fleet'>;

/** A value of a SQLite column: INTEGER as bigint, REAL as number. */
export type ColumnValue = null | bigint | number | string | Buffer;

/** The acting user. Ids are text, whatever type the column has. */
export interface EventUser {
  readonly id: string | null;
  readonly name: string | null;
  readonly email: string | null;
}

/** The resource of the action. */
export interface EventResource {
  readonly type: string | null;
  readonly id: string | null;
}

/**
 * One row of an audit table, read, parsed and with its secrets masked. Immutable and shared by all sinks.
 *
 * Every member is declared as an accessor, since some are accessors in the class of rows: `{ ...event }` would silently lose them.
 * TypeScript leaves accessors out of a spread, so such a copy is a type error; `copyEvent` makes a correct one. This class does not
 * exist at run time, and any object with these members is an event.
 */
export declare abstract class AuditEvent {
  abstract get source(): SourceName;
  /** 1 for the first database seen; one more each time another history is found at the same path. */
  abstract get timeline(): number;
  /** Row id. */
  abstract get sequence(): number;
  /** 32 hex digits: a hash of source id, row id and the mapped columns. Its first 16 are the fingerprint. */
  abstract get id(): string;
  /** The row's own time, milliseconds since the epoch, UTC; null where it can't be read. */
  abstract get time(): number | null;
  /** The text of `created_at`, if `time` is null. */
  abstract get rawTime(): string | null;
  /** When this daemon read the row, milliseconds since the epoch. */
  abstract get ingested(): number;
  /** The catalog's entry, or an informational one for an event that is not in the catalog. */
  abstract get type(): EventType;
  /** Canonical `<category>.<action>`, equal to `type.action`. */
  abstract get action(): string;
  /** The word in the row. */
  abstract get rawAction(): string;
  abstract get user(): EventUser;
  abstract get resource(): EventResource;
  /** Client address in canonical text (RFC 5952; IPv4-mapped as IPv4, no zone, no port); null if it is not an address. */
  abstract get address(): string | null;
  /** The text of `ip_address`, if it is not exactly `address`. Never trust it. */
  abstract get rawAddress(): string | null;
  /** The row's `server`, else the configured name of this one. */
  abstract get server(): string;
  /** True if the row named no server or this one: only such failures may ban here. */
  abstract get local(): boolean;
  /** Compact JSON text of an object, secrets masked; null if the column is null or empty. A value that is not a JSON object is under `text` or `value`. */
  abstract get details(): string | null;
  /**
   * For a row of the source `auditd` that is a later version of an edited row of Postern: the id of that row. Else null. It is not part of
   * the hash or of `details`, so a client can't forge it and it does not change an id.
   */
  abstract get revisionOf(): number | null;
  /** For people: what is missing from the row, and why. Null or left out: nothing. */
  readonly incomplete?: string | null;
  /** For a revision: the event type of the edited row, as `type` is only `daemon.row_edited`. */
  readonly revisedType?: EventType | undefined;
  /** The columns created_at to server in this order, as the table has them, except for `details`, which is as above. Left out: the event is not from a table. */
  readonly redactedColumns?: readonly ColumnValue[];
}

/** The members of an event as those of a plain object. */
type EventMembers = { readonly [Key in keyof AuditEvent]: AuditEvent[Key] };

/** Members that a copy can change. */
export type EventChanges = Partial<Omit<EventMembers, 'columns'>>;

/** A changed copy. It has no `redactedColumns`, which would still have the old values. */
export function copyEvent(event: AuditEvent, changes: EventChanges): AuditEvent {
  // The old value is read only if it is not changed: `details` may be costly.
  const {
    source = event.source,
    timeline = event.timeline,
    sequence = event.sequence,
    id = event.id,
    time = event.time,
    rawTime = event.rawTime,
    ingested = event.ingested,
    type = event.type,
    action = event.action,
    rawAction = event.rawAction,
    user = event.user,
    resource = event.resource,
    address = event.address,
    rawAddress = event.rawAddress,
    server = event.server,
    local = event.local,
    details = event.details,
    revisionOf = event.revisionOf,
    revisedType = event.revisedType,
    incomplete = event.incomplete ?? null,
  } = changes;
  const copy: Required<Omit<EventMembers, 'redactedColumns'>> = {
    source,
    timeline,
    sequence,
    id,
    time,
    rawTime,
    ingested,
    type,
    action,
    rawAction,
    user,
    resource,
    address,
    rawAddress,
    server,
    local,
    details,
    revisionOf,
    revisedType,
    incomplete,
  };
  return copy;
}

/** The id people and programs see: `postern:4711`. */
export function publicId(event: Pick<AuditEvent, 'source' | 'sequence'>): string {
  return `${event.source}:${event.sequence}`;
}
