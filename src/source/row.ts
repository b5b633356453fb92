import { parseAddress } from '../audit/address.js';
import type { Classifier, EventType } from '../audit/catalog.js';
import type { AuditEvent, EventResource, EventUser, SourceName } from '../audit/event.js';
import type { Redactor } from '../audit/redaction.js';
import { CreatedReader } from './created.js';
import { encodeRow, idOf, type RawRow, type SqlValue } from './encoding.js';

export interface RowOptions {
  readonly name: SourceName;
  /** 32 hex digits, random, made once per state.db: a part of every `event.id`. */
  readonly sourceId: string;
  /** The name of this server, for rows that name none. */
  readonly server: string;
  readonly classify: Classifier;
  readonly redact: Redactor;
  /** The `event.id` of a row by its row id, where it has one already from elsewhere; else it is made from the row. */
  readonly idOf?: (rowId: bigint) => string | null;
  /** No row is of this server, whatever name it has: others wrote them. */
  readonly foreign?: boolean;
}

/** Where a row comes from: what its columns do not say. */
export interface RowPlace {
  readonly timeline: number;
  readonly ingested: number;
  /** AuditTable.defaults */
  readonly defaults: ReadonlyArray<unknown>;
  /** The bytes of a column of the row with this id. */
  readonly bytesOf: (id: bigint, column: number) => Buffer | null;
}

/** The action of a version whose kind is that of the version before it. */
export const ROW_EDITED = 'daemon.row_edited';

/** What a row of ours says of an edited row besides the values that it has now. */
export interface Revision {
  /** Row id in Postern's table. */
  readonly of: number;
  /** The word that stands in that row, where `action` says only that it was edited. */
  readonly action: string | null;
}

/** Makes events of rows. Whatever is in a row, it does not throw: what can't be read is null. */
export class RowReader {
  /** What ids are made from, besides the row: the same row in the other source is another event. */
  private readonly origin: string;
  private readonly created = new CreatedReader();

  constructor(private readonly options: RowOptions) {
    this.origin = options.name === 'postern' ? options.sourceId : `${options.sourceId}/${options.name}`;
  }

  /** `event.id` alone, and the length of what was hashed, which is about that of the row. */
  identify(row: RawRow, place: Pick<RowPlace, 'defaults' | 'bytesOf'>): { id: string; length: number } {
    const known = typeof row[0] === 'bigint' ? (this.options.idOf?.(row[0]) ?? null) : null;
    if (known !== null) return { id: known, length: lengthOf(row) };
    const encoded = encodeRow(this.origin, row, place.defaults, (column) => {
      const id = row[0];
      return typeof id === 'bigint' ? place.bytesOf(id, column) : null;
    });
    return { id: idOf(encoded), length: encoded.length };
  }

  /** `id` is the row's from `identify`. */
  event(row: RawRow, id: string, place: RowPlace, revision: Revision | null = null): AuditEvent {
    const rawAction = textOf(row[5]) ?? '';
    const resourceType = textOf(row[6]);
    const rawTime = row[1] ?? null;
    const time = this.created.read(Buffer.isBuffer(rawTime) ? textOf(rawTime) : rawTime);
    const rawAddress = textOf(row[9]);
    const address = parseAddress(rawAddress);
    const server = textOf(row[10]);
    const named = server !== null && server !== '';
    const isEdit = revision !== null && rawAction === ROW_EDITED;
    return new RowEvent(
      this.options.name,
      place.timeline,
      Number(row[0]),
      id,
      time,
      time === null ? textOf(rawTime) : null,
      place.ingested,
      // Whatever the edited row names as its resource: this word of ours is this word.
      this.typeOf(rawAction, isEdit ? null : resourceType),
      isEdit ? (revision.action ?? '') : rawAction,
      { id: textOf(row[2]), name: textOf(row[3]), email: textOf(row[4]) },
      { type: resourceType, id: textOf(row[7]) },
      address,
      address === rawAddress || rawAddress === '' ? null : rawAddress,
      named ? server : this.options.server,
      this.options.foreign !== true && (!named || server === this.options.server),
      revision?.of ?? null,
      isEdit ? this.typeOf(revision.action ?? '', resourceType) : undefined,
      row,
      this.options.redact,
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

/** Where `details` stands in a row. */
const DETAILS = 8;

/** An event whose `details` are parsed and masked when first asked for: fail2ban's sink never asks. */
class RowEvent implements AuditEvent {
  private masked: string | null | undefined;

  constructor(
    readonly source: SourceName,
    readonly timeline: number,
    readonly sequence: number,
    readonly id: string,
    readonly time: number | null,
    readonly rawTime: string | null,
    readonly ingested: number,
    readonly type: EventType,
    readonly rawAction: string,
    readonly user: EventUser,
    readonly resource: EventResource,
    readonly address: string | null,
    readonly rawAddress: string | null,
    readonly server: string,
    readonly local: boolean,
    readonly revisionOf: number | null,
    readonly revisedType: EventType | undefined,
    private readonly row: RawRow,
    private readonly redact: Redactor,
  ) {}

  get action(): string {
    return this.type.action;
  }

  get details(): string | null {
    if (this.masked === undefined) {
      try {
        this.masked = this.redact(textOf(this.row[DETAILS]));
      } catch {
        this.masked = null;
      }
    }
    return this.masked;
  }

  get size(): number {
    return lengthOf(this.row);
  }

  get columns(): readonly SqlValue[] {
    return this.row.slice(1).with(DETAILS - 1, this.details);
  }
}

/** About what a row takes in memory. */
export function sizeOf(event: AuditEvent): number {
  return event instanceof RowEvent ? event.size : (event.details?.length ?? 0);
}

function lengthOf(row: RawRow): number {
  return row.reduce<number>(
    (sum, value) => sum + (typeof value === 'string' || Buffer.isBuffer(value) ? value.length : 8),
    0,
  );
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A value of any type as text: numbers as SQLite writes them, a BLOB as the text it holds, else as its hex digits. */
function textOf(value: SqlValue | undefined): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (!Buffer.isBuffer(value)) return String(value);
  try {
    return utf8.decode(value);
  } catch {
    return `0x${value.toString('hex')}`;
  }
}
