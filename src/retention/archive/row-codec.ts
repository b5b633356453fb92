/** Text that is not UTF-8, as bytes from SQLite. */
export class TextBytes {
  constructor(readonly bytes: Uint8Array) {}
}

/** A value with its SQLite type: INTEGER bigint, REAL number, TEXT string or TextBytes, BLOB Uint8Array. */
export type ArchivedValue = null | bigint | number | string | TextBytes | Uint8Array;

/** A row of the table, with what is derived from it. */
export interface ArchivedRow {
  readonly id: number;
  readonly eventId: string;
  /** Milliseconds since the epoch; null if unreadable. */
  readonly time: number | null;
  /** Every column of the table by name, including those without a key in `source.columns`. */
  readonly columns: Readonly<Record<string, ArchivedValue>>;
}

/**
 * Converts a row to one line of JSON and back, without loss. Values that JSON can't distinguish are wrapped:
 * `{"integer":"…"}` beyond 2^53, `{"real":"1"}` where a number looks like an integer, `{"blob":"base64"}`, and
 * `{"text":"base64"}` for text that is not UTF-8.
 */
export class LineCodec {
  private readonly heads: ReadonlyArray<readonly [name: string, head: string]>;

  constructor(columns: readonly string[]) {
    this.heads = columns.map((name, at) => [name, `${at === 0 ? '' : ','}${JSON.stringify(name)}:`]);
  }

  /** Without a line end. @throws TypeError if the row lacks a column */
  encode(row: ArchivedRow): string {
    let text = `{"id":${row.id},"event_id":${JSON.stringify(row.eventId)},"time":${row.time},"row":{`;
    for (const [name, head] of this.heads) text += head + encodeValue(row.columns[name], name);
    return `${text}}}`;
  }

  /** @throws SyntaxError or TypeError if the line is invalid */
  decode(line: string): ArchivedRow {
    const { id, event_id: eventId, time, row } = fieldsOf(JSON.parse(line));
    if (typeof id !== 'number' || !Number.isSafeInteger(id)) throw new TypeError('a line without its id');
    if (typeof eventId !== 'string') throw new TypeError(`row ${id} has no event_id`);
    if (time !== null && typeof time !== 'number') throw new TypeError(`row ${id} has no time`);
    const found = fieldsOf(row);
    const columns: Record<string, ArchivedValue> = {};
    for (const [name] of this.heads) setColumn(columns, name, decodeValue(found[name], name));
    return { id, eventId, time, columns };
  }
}

function encodeValue(value: ArchivedValue | undefined, name: string): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') {
    const safe = value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER;
    return safe ? String(value) : `{"integer":"${value}"}`;
  }
  if (typeof value === 'number') {
    if (Number.isFinite(value) && !Number.isInteger(value)) return String(value);
    return `{"real":"${Object.is(value, -0) ? '-0' : value}"}`;
  }
  if (value instanceof TextBytes) return `{"text":"${base64(value.bytes)}"}`;
  if (value instanceof Uint8Array) return `{"blob":"${base64(value)}"}`;
  throw new TypeError(`column ${name} has no value`);
}

function decodeValue(value: unknown, name: string): ArchivedValue {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
  const { integer, real, blob, text } = fieldsOf(value);
  if (typeof integer === 'string') return BigInt(integer);
  if (typeof real === 'string') return Number(real);
  if (typeof blob === 'string') return Buffer.from(blob, 'base64');
  if (typeof text === 'string') return new TextBytes(Buffer.from(text, 'base64'));
  throw new TypeError(`column ${name} has no value`);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TypeError('a line that is not a row');
  return value as Record<string, unknown>;
}

/** Works for a column called `__proto__`, too. */
export function setColumn(columns: Record<string, ArchivedValue>, name: string, value: ArchivedValue): void {
  if (name !== '__proto__') columns[name] = value;
  else Object.defineProperty(columns, name, { value, enumerable: true, configurable: true, writable: true });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
