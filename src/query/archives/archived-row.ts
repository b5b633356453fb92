import type { AuditEvent } from '../../audit/event.js';
import { TimeZone } from '../../audit/time-zone.js';
import type { Manifest } from '../../retention/archive/manifest.js';
import { type ArchivedValue, LineCodec, TextBytes } from '../../retention/archive/row-codec.js';
import type { RawRow, SqlValue } from '../../source/event-id.js';
import type { Revision, RowReader } from '../../source/row-to-event.js';
import { COLUMN_KEYS, REVISION_COLUMNS, type TableConfig } from '../../source/table-schema.js';
import { type ArchivedLine, hasTimeZone } from './archive-reader.js';

interface Shape {
  readonly codec: LineCodec;
  /** The archive's names of the columns, in the order of COLUMN_KEYS; null for a column that it lacks. */
  readonly names: ReadonlyArray<string | null>;
}

/** Turns archived lines into events and rows, as if they were read from the table. */
export class ArchivedReader {
  private readonly shapes = new WeakMap<Manifest, Shape>();

  constructor(
    private readonly config: TableConfig,
    private readonly rows: RowReader,
  ) {}

  event({ line, manifest }: ArchivedLine): AuditEvent {
    const { codec, names } = this.shapeOf(manifest);
    const { eventId, columns } = codec.decode(line);
    const place = { timeline: manifest.timeline, ingested: 0, defaults: [], bytesOf: () => null };
    return this.rows.event(rawOf(columns, names), eventId, place, this.revisionIn(columns));
  }

  /** The time, as in `event`. */
  time(archived: ArchivedLine): number | null {
    return hasTimeZone(archived.manifest, this.timeZone) ? timeIn(archived.line) : this.event(archived).time;
  }

  /** The time zone of times without one; null: UTC. */
  get timeZone(): string | null {
    return TimeZone.of(this.config.time_zone)?.name ?? null;
  }

  /** Whether a row of the daemon's own table is a version of a Postern row. */
  isVersion({ line, manifest }: ArchivedLine): boolean {
    return this.revisionIn(this.shapeOf(manifest).codec.decode(line).columns) !== null;
  }

  private revisionIn(columns: Readonly<Record<string, ArchivedValue>>): Revision | null {
    const [of, action] = REVISION_COLUMNS.map((name) => columns[name] ?? null);
    if (!this.rows.knowsRevisions || of === null) return null;
    return { of: Number(of), action: typeof action === 'string' ? action : null };
  }

  /** The row as better-sqlite3 would return it. */
  raw({ line, manifest }: ArchivedLine): RawRow {
    const { codec, names } = this.shapeOf(manifest);
    return rawOf(codec.decode(line).columns, names);
  }

  private shapeOf(manifest: Manifest): Shape {
    const known = this.shapes.get(manifest);
    if (known !== undefined) return known;
    const all = manifest.columns.map(({ name }) => name);
    const shape: Shape = {
      codec: new LineCodec(all),
      names: COLUMN_KEYS.map(
        (key) => all.find((name) => name.toLowerCase() === this.config.columns[key]?.toLowerCase()) ?? null,
      ),
    };
    this.shapes.set(manifest, shape);
    return shape;
  }
}

/** The time, found without parsing the JSON: the text before the row's columns is only ours. */
function timeIn(line: string): number | null {
  const begin = line.indexOf(TIME) + TIME.length;
  const text = line.slice(begin, line.indexOf(',', begin));
  return text === 'null' ? null : Number(text);
}

const TIME = ',"time":';

function rawOf(
  columns: Readonly<Record<string, ArchivedValue>>,
  names: ReadonlyArray<string | null>,
): SqlValue[] {
  return names.map((name) => (name === null ? null : sqlValue(columns[name] ?? null)));
}

function sqlValue(value: ArchivedValue): SqlValue {
  if (value instanceof TextBytes) return Buffer.from(value.bytes).toString();
  if (value instanceof Uint8Array) return Buffer.from(value);
  return value;
}

/** Whether two rows have the same values. */
export function isSameRow(a: RawRow, b: RawRow): boolean {
  return a.every((value, at) => {
    const other = b[at];
    if (Buffer.isBuffer(value)) return Buffer.isBuffer(other) && value.equals(other);
    return Object.is(value, other);
  });
}
