import { clientAddress, NetworkSet } from '../audit/address.js';
import type { Classifier, EventType } from '../audit/catalog.js';
import type { AuditEvent, EventResource, EventUser, SourceName } from '../audit/event.js';
import { DETAILS_BUDGET, shortenDetails } from '../audit/long-details.js';
import type { Redactor } from '../audit/redaction.js';
import { withSafeKeys } from '../audit/safe-keys.js';
import { CreatedReader } from './created-at.js';
import { encodeRow, eventIdOf, type RawRow, type SqlValue } from './event-id.js';
import { unreadLength } from './oversized-values.js';
import type { RowGuard } from './quarantine.js';
import { COLUMN_KEYS } from './table-schema.js';

export interface RowOptions {
  readonly name: SourceName;
  /** 32 hex digits, random, made once per state.db: a part of every `event.id`. */
  readonly sourceId: string;
  /** The name of this server, for rows that name none. */
  readonly server: string;
  readonly classify: Classifier;
  readonly redact: Redactor;
  /** `source.trusted_proxies`; of a list of addresses, the last one that is not a trusted proxy counts. Left out or empty: a list is not an address. */
  readonly trustedProxies?: readonly string[];
  /** `source.time_zone`, of times that are written without one; left out: UTC. */
  readonly timeZone?: string;
  /** The existing `event.id` of a row, by row id; if there is none, it is computed from the row. */
  readonly idOf?: (rowId: bigint) => string | null;
  /** No row belongs to this server, whatever its server name: other servers wrote them. */
  readonly foreign?: boolean;
  /** Whether the table has versions of edited rows; omitted: only the daemon's own table has. */
  readonly revisions?: boolean;
  /** Rows that crashed the daemon, for other processes that read the table: row ids, and `event.id`s where known. */
  readonly quarantined?: ReadonlySet<string>;
  /** Notes rows before they are processed, and knows the rows at which the process crashed. */
  readonly guard?: RowGuard;
}

/** The origin of a row: what its columns do not contain. */
export interface RowContext {
  readonly timeline: number;
  readonly ingested: number;
  /** AuditTable.defaults */
  readonly defaults: ReadonlyArray<unknown>;
  /** The bytes of a column of the row with this id. */
  readonly bytesOf: (id: bigint, column: number) => Buffer | null;
  /** It is one of few rows: noting it costs next to nothing. */
  readonly few?: boolean;
  /** Called before the row is processed: notes it together with others. */
  readonly begin?: () => void;
}

/** The action of a version whose kind is that of the version before it. */
export const ROW_EDITED = 'daemon.row_edited';

/** What a row of our own table records of an edited row, in addition to the new values. */
export interface Revision {
  /** Row id in Postern's table. */
  readonly of: number;
  /** The action in that row, where `action` here is only `daemon.row_edited`. */
  readonly action: string | null;
}

/** Converts rows to events. It never throws: unreadable values become null. */
export class RowReader {
  /** Part of each event id, so that equal rows of two sources are different events. */
  private readonly origin: string;
  private readonly created: CreatedReader;
  private readonly trusted: NetworkSet | null;

  constructor(private readonly options: RowOptions) {
    this.created = new CreatedReader(options.timeZone);
    this.trusted = trustedSet(options.trustedProxies);
    this.origin = options.name === 'postern' ? options.sourceId : `${options.sourceId}/${options.name}`;
  }

  /** Only for our own tables: in another table such a column has its own meaning. */
  get knowsRevisions(): boolean {
    return this.options.revisions ?? this.options.name === 'auditd';
  }

  /** `event.id` alone, and the length of what was hashed, which is about that of the row. */
  identify(row: RawRow, place: Pick<RowContext, 'defaults' | 'bytesOf'>): { id: string; length: number } {
    const known = typeof row[0] === 'bigint' ? (this.options.idOf?.(row[0]) ?? null) : null;
    if (known !== null) return { id: known, length: lengthOf(row) };
    const encoded = encodeRow(this.origin, row, place.defaults, (column) => {
      const id = row[0];
      return typeof id === 'bigint' ? place.bytesOf(id, column) : null;
    });
    return { id: eventIdOf(encoded), length: encoded.length };
  }

  /** The context of a group of rows between these two ids, which are processed next. */
  together(one: RawRow | undefined, other: RawRow | undefined, place: RowContext): RowContext {
    const { guard, name: source } = this.options;
    if (guard === undefined || guard.careful) return place;
    const [from, to] = [Number(one?.[0]), Number(other?.[0])];
    const rows = { source, first: Math.min(from, to), last: Math.max(from, to) };
    const begin = () => guard.begin(rows);
    begin();
    return { ...place, begin };
  }

  /** The page is complete. */
  end(): void {
    this.options.guard?.end();
  }

  /** `id` is the row's from `identify`. */
  event(row: RawRow, id: string, place: RowContext, revision: Revision | null = null): AuditEvent {
    const { guard, name, quarantined } = this.options;
    if (quarantined !== undefined && (quarantined.has(id) || quarantined.has(String(row[0]))))
      return this.make(row.map(harmless), id, place, revision, QUARANTINED);
    if (guard === undefined) return this.make(row, id, place, revision);
    if (guard.isQuarantined(id)) return this.make(row.map(harmless), id, place, revision, QUARANTINED);
    if (place.few !== true && !guard.careful) return this.make(row, id, place, revision);
    if (guard.wasTried(id)) return this.make(row, id, place, revision);
    return guard.attempt({ source: name, row: String(row[0]), id }, () => {
      const event = this.make(row, id, place, revision);
      void event.details;
      guard.rehearse(event);
      return event;
    });
  }

  private make(
    whole: RawRow,
    id: string,
    place: RowContext,
    revision: Revision | null,
    reason: string | null = null,
  ): AuditEvent {
    const unread = unreadColumns(whole);
    const row = unread === null ? whole : whole.map((value) => (unreadLength(value) === null ? value : null));
    const rawAction = textOf(row[5]) ?? '';
    const resourceType = textOf(row[6]);
    const rawTime = row[1] ?? null;
    const time = this.created.read(Buffer.isBuffer(rawTime) ? textOf(rawTime) : rawTime);
    const rawAddress = textOf(row[9]);
    const address = clientAddress(rawAddress, this.trusted);
    const server = textOf(row[10]);
    const named = server !== null && server !== '';
    const isEdit = revision !== null && rawAction === ROW_EDITED;
    return new RowEvent(
      {
        source: this.options.name,
        timeline: place.timeline,
        sequence: Number(row[0]),
        id,
        time,
        rawTime: time === null ? textOf(rawTime) : null,
        ingested: place.ingested,
        // Regardless of the edited row's resource: this action is the daemon's own.
        type: this.typeOf(rawAction, isEdit ? null : resourceType),
        rawAction: isEdit ? (revision.action ?? '') : rawAction,
        user: { id: textOf(row[2]), name: textOf(row[3]), email: textOf(row[4]) },
        resource: { type: resourceType, id: textOf(row[7]) },
        address,
        rawAddress: address === rawAddress || rawAddress === '' ? null : rawAddress,
        server: named ? server : this.options.server,
        local: this.options.foreign !== true && (!named || server === this.options.server),
        revisionOf: revision?.of ?? null,
        revisedType: isEdit ? this.typeOf(revision.action ?? '', resourceType) : undefined,
      },
      row,
      this.options.redact,
      reason ?? unread,
      place.begin ?? null,
    );
  }

  private typeOf(action: string, resourceType: string | null): EventType {
    try {
      return this.options.classify(action, resourceType);
    } catch {
      return this.options.classify('unknown', null);
    }
  }
}

/** The position of `details` in a row. */
const DETAILS = 8;

/** The parsed columns of a row. */
type ParsedRow = {
  readonly [Key in Exclude<
    keyof AuditEvent,
    'action' | 'details' | 'incomplete' | 'redactedColumns'
  >]: AuditEvent[Key];
};

/** An event whose `details` are parsed and masked on first use: fail2ban's sink never uses them. */
class RowEvent implements AuditEvent {
  readonly source: SourceName;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
  readonly time: number | null;
  readonly rawTime: string | null;
  readonly ingested: number;
  readonly type: EventType;
  readonly rawAction: string;
  readonly user: EventUser;
  readonly resource: EventResource;
  readonly address: string | null;
  readonly rawAddress: string | null;
  readonly server: string;
  readonly local: boolean;
  readonly revisionOf: number | null;
  readonly revisedType: EventType | undefined;
  private masked: string | null | undefined;

  constructor(
    parsed: ParsedRow,
    private readonly row: RawRow,
    private readonly redact: Redactor,
    private reason: string | null,
    private readonly begin: (() => void) | null,
  ) {
    this.source = parsed.source;
    this.timeline = parsed.timeline;
    this.sequence = parsed.sequence;
    this.id = parsed.id;
    this.time = parsed.time;
    this.rawTime = parsed.rawTime;
    this.ingested = parsed.ingested;
    this.type = parsed.type;
    this.rawAction = parsed.rawAction;
    this.user = parsed.user;
    this.resource = parsed.resource;
    this.address = parsed.address;
    this.rawAddress = parsed.rawAddress;
    this.server = parsed.server;
    this.local = parsed.local;
    this.revisionOf = parsed.revisionOf;
    this.revisedType = parsed.revisedType;
  }

  get action(): string {
    return this.type.action;
  }

  get details(): string | null {
    if (this.masked !== undefined) return this.masked;
    this.begin?.();
    this.masked = this.maskedDetails();
    return this.masked;
  }

  get size(): number {
    return lengthOf(this.row);
  }

  get created(): SqlValue | undefined {
    return this.row[1];
  }

  get incomplete(): string | null {
    void this.details;
    return this.reason;
  }

  private maskedDetails(): string | null {
    if (this.reason !== null && this.row[DETAILS] === null) return JSON.stringify({ left_out: this.reason });
    try {
      const text = textOf(this.row[DETAILS]);
      if (text === null || text.length <= DETAILS_BUDGET) return this.safe(text);
      this.reason ??= `details of ${text.length} characters are shortened`;
      return this.safe(shortenDetails(text));
    } catch {
      this.reason ??= 'details could not be masked';
      return JSON.stringify({ left_out: this.reason });
    }
  }

  private safe(text: string | null): string | null {
    const masked = this.redact(text);
    return masked === null ? null : withSafeKeys(masked);
  }

  get redactedColumns(): readonly SqlValue[] {
    return this.row.slice(1).with(DETAILS - 1, this.details);
  }
}

/** `created_at` as stored in the table, without a copy of the other columns. */
export function createdIn(event: AuditEvent): SqlValue {
  return (event instanceof RowEvent ? event.created : event.redactedColumns?.[0]) ?? null;
}

/** The approximate memory of a row. */
export function eventSize(event: AuditEvent): number {
  return event instanceof RowEvent ? event.size : (event.details?.length ?? 0);
}

const QUARANTINED = 'the row ended the process again and again';
/** Maximum length of a text from a quarantined row. */
const HARMLESS = 64;

/** A value of a quarantined row: no details, and only the beginning of other texts, in plain characters. */
function harmless(value: SqlValue, at: number): SqlValue {
  if (at === DETAILS) return null;
  if (Buffer.isBuffer(value)) return null;
  return typeof value === 'string' ? value.slice(0, HARMLESS).replace(/[^ -~]/g, '?') : value;
}

/** The columns that were not read, described for people; null if all were read. */
function unreadColumns(row: RawRow): string | null {
  let found: string | null = null;
  for (const [at, value] of row.entries()) {
    if (typeof value !== 'object' || value === null) continue;
    const length = unreadLength(value);
    if (length === null) continue;
    found = `${found === null ? '' : `${found}, `}${COLUMN_KEYS[at] ?? ''} of ${length} bytes is not read`;
  }
  return found;
}

/** Null if none are trusted. */
export function trustedSet(entries: readonly string[] = []): NetworkSet | null {
  return entries.length === 0 ? null : new NetworkSet(entries);
}

function lengthOf(row: RawRow): number {
  return row.reduce<number>(
    (sum, value) => sum + (typeof value === 'string' || Buffer.isBuffer(value) ? value.length : 8),
    0,
  );
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A value of any type as text: numbers as SQLite writes them, a BLOB as the text it contains, or else as hex digits. */
export function textOf(value: SqlValue | undefined): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (!Buffer.isBuffer(value)) return String(value);
  try {
    return utf8.decode(value);
  } catch {
    return `0x${value.toString('hex')}`;
  }
}
