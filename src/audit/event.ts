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

/**
 * One row of an audit table, read, parsed and with its secrets masked. Immutable and shared by all sinks.
 *
 * Every member is declared as an accessor, since in the class that rows come as some are: `{ ...event }` would lose them without a
 * word. TypeScript leaves accessors of a class out of a spread, so that such a copy is a type error: `copyEvent` makes one.
 * There is no such class at run time, and any object with these members is an event.
 */
export declare abstract class AuditEvent {
  abstract get source(): SourceName;
  /** 1 for the first database seen; one more each time another history is found behind the same path. */
  abstract get timeline(): number;
  /** Row id. */
  abstract get sequence(): number;
  /** 32 hex digits: a hash of source id, row id and the mapped columns. Its first 16 are the fingerprint. */
  abstract get id(): string;
  /** The row's own time, milliseconds since the epoch, UTC; null where it can't be read. */
  abstract get time(): number | null;
  /** What stood in `created_at`, where `time` is null. */
  abstract get rawTime(): string | null;
  /** When this daemon read the row, milliseconds since the epoch. */
  abstract get ingested(): number;
  /** The catalog's entry; for what the catalog does not know, an informational one made for it. */
  abstract get type(): EventType;
  /** Canonical `<category>.<action>`, equal to `type.action`. */
  abstract get action(): string;
  /** The word that stood in the row. */
  abstract get rawAction(): string;
  abstract get user(): EventUser;
  abstract get resource(): EventResource;
  /** Client address in canonical text (RFC 5952; IPv4-mapped as IPv4, no zone, no port); null if it is no address. */
  abstract get address(): string | null;
  /** What stood in `ip_address`, where that is not exactly `address`. Never to be trusted. */
  abstract get rawAddress(): string | null;
  /** The row's `server`, else the configured name of this one. */
  abstract get server(): string;
  /** True if the row named no server or this one: only such failures may ban here. */
  abstract get local(): boolean;
  /** Compact JSON text of an object, secrets masked; null if the column is, or is empty. What was no JSON object stands under `text` or `value`. */
  abstract get details(): string | null;
  /**
   * Of a row of the source `auditd` that is a later version of an edited row of Postern's: the id of that row. Null of everything else. No
   * part of the hash and of `details`, so that neither a client can forge it nor an id changes by it.
   */
  abstract get revisionOf(): number | null;
  /** For people: what the event lacks of its row, and why. Null or left out: nothing. */
  readonly incomplete?: string | null;
  /** Of a revision: what the edited row says that it is, where `type` is only `daemon.row_edited`. */
  readonly revisedType?: EventType | undefined;
  /** created_at to server as the table holds them, in that order, but for `details`, which is as above. Left out: made by no table. */
  readonly redactedColumns?: readonly ColumnValue[];
}

/** The members of an event as those of a plain object. */
type EventMembers = { readonly [Key in keyof AuditEvent]: AuditEvent[Key] };

/** What a copy can have of its own. */
export type EventChanges = Partial<Omit<EventMembers, 'columns'>>;

/** A changed copy. It is made by no table: `columns` would still say what was changed. */
export function copyEvent(event: AuditEvent, changes: EventChanges): AuditEvent {
  // A default is only asked for where there is no change: `details` may be costly.
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
