/**
 * OTLP log records in protobuf (opentelemetry/proto/logs/v1/logs.proto), written by hand: one known shape needs no library, and costs a third of
 * its time.
 *
 * A message of one event is the length of its resource (two bytes, little-endian), the field `resource` of ResourceLogs, and the field
 * `log_records` of ScopeLogs. A request joins neighbours with the same resource.
 */
import type { EventType } from '../audit/catalog.js';
import type { AuditEvent } from '../audit/event.js';
import { lastText } from './format-fallback.js';
import { product } from './observer.js';
import {
  type AttributeWriter,
  DETAILS_KEY,
  eventName,
  recordBody,
  recordTime,
  SERVICE_NAME,
  SEVERITY_NUMBERS,
  TRUNCATED_KEY,
  writeAttributes,
  writeTypeAttributes,
} from './otlp-attributes.js';
import { fitRecord } from './otlp-fit.js';
import type { Formatter } from './syslog-message.js';
import { cutUtf8 } from './utf8.js';

/** Tags: field number and wire type (0 varint, 1 fixed64, 2 length-delimited). */
const TIME = 0x09; // LogRecord.time_unix_nano = 1
const OBSERVED_TIME = 0x59; // observed_time_unix_nano = 11
const SEVERITY_NUMBER = 0x10; // severity_number = 2
const SEVERITY_TEXT = 0x1a; // severity_text = 3
const BODY = 0x2a; // body = 5
const ATTRIBUTE = 0x32; // attributes = 6
const EVENT_NAME = 0x62; // event_name = 12
const KEY = 0x0a; // KeyValue.key = 1
const VALUE = 0x12; // KeyValue.value = 2
const STRING = 0x0a; // AnyValue.string_value = 1
const INTEGER = 0x18; // AnyValue.int_value = 3
const ARRAY = 0x2a; // AnyValue.array_value = 5
const FIRST = 0x0a; // field 1 of any message
const SECOND = 0x12; // field 2 of any message

const SHORT = 24;
const ASCII = /^[\0-\x7f]*$/;
/** Longest host name in a resource, so that its length fits into two bytes. */
const LONGEST_SERVER = 1_024;

let memory: Buffer = Buffer.alloc(0);
let at = 0;

function writeVarint(value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    memory[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  memory[at++] = rest;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** @param length bytes of the text in UTF-8 */
function writeText(text: string, length: number): void {
  if (length !== text.length) at += memory.write(text, at, 'utf8');
  else if (length > SHORT) at += memory.write(text, at, 'latin1');
  else for (let n = 0; n < length; n++) memory[at++] = text.charCodeAt(n);
}

function textLength(text: string): number {
  return ASCII.test(text) ? text.length : Buffer.byteLength(text, 'utf8');
}

/** A string field. */
function writeString(tag: number, text: string): void {
  const length = textLength(text);
  memory[at++] = tag;
  writeVarint(length);
  writeText(text, length);
}

/** Nanoseconds since the epoch as fixed64. They exceed a double's integers, so both halves are computed apart. */
function writeTime(tag: number, milliseconds: number): void {
  const whole = Math.floor(milliseconds);
  const high = Math.floor(whole / 0x10000) * 1e6;
  const low = (high % 0x10000) * 0x10000 + (whole % 0x10000) * 1e6;
  memory[at++] = tag;
  memory.writeUInt32LE(low % 2 ** 32, at);
  memory.writeUInt32LE(Math.floor(high / 0x10000) + Math.floor(low / 2 ** 32), at + 4);
  at += 8;
}

const keys = new Map<string, Buffer>();

/** The field `key` of a KeyValue. Names of attributes are fixed. */
function keyField(key: string): Buffer {
  const known = keys.get(key);
  if (known !== undefined) return known;
  const made = Buffer.concat([Buffer.from([KEY, key.length]), Buffer.from(key, 'latin1')]);
  keys.set(key, made);
  return made;
}

function writeKey(key: string, valueLength: number): void {
  const field = keyField(key);
  memory[at++] = ATTRIBUTE;
  writeVarint(field.length + 1 + varintLength(valueLength) + valueLength);
  memory.set(field, at);
  at += field.length;
  memory[at++] = VALUE;
  writeVarint(valueLength);
}

const attributes: AttributeWriter = {
  text(key, value) {
    const length = textLength(value);
    writeKey(key, 1 + varintLength(length) + length);
    memory[at++] = STRING;
    writeVarint(length);
    writeText(value, length);
  },
  number(key, value) {
    writeKey(key, 1 + varintLength(value));
    memory[at++] = INTEGER;
    writeVarint(value);
  },
  list(key, values) {
    const items = values.map((value) => lengthDelimited(FIRST, lengthDelimited(STRING, Buffer.from(value))));
    const array = lengthDelimited(ARRAY, Buffer.concat(items));
    writeKey(key, array.length);
    memory.set(array, at);
    at += array.length;
  },
};

/** A length-delimited field. */
function lengthDelimited(tag: number, content: Buffer): Buffer {
  return Buffer.concat([fieldHead(tag, content.length), content]);
}

function fieldHead(tag: number, length: number): Buffer {
  const head = Buffer.alloc(1 + varintLength(length));
  head[0] = tag;
  let rest = length;
  for (let n = 1; n < head.length; n++) {
    head[n] = (rest % 0x80) | (n < head.length - 1 ? 0x80 : 0);
    rest = Math.floor(rest / 0x80);
  }
  return head;
}

/** What `write` makes, in a buffer of its own. */
function inOwnBuffer(size: number, write: () => void): Buffer {
  const [before, position] = [memory, at];
  memory = Buffer.alloc(size);
  at = 0;
  write();
  const made = memory.subarray(0, at);
  memory = before;
  at = position;
  return made;
}

const typeFields = new WeakMap<EventType, Buffer>();

/** The fields that depend on the type alone. */
function fieldsOf(type: EventType): Buffer {
  const known = typeFields.get(type);
  if (known !== undefined) return known;
  const made = inOwnBuffer(1_024 + type.action.length * 8, () => {
    memory[at++] = SEVERITY_NUMBER;
    writeVarint(SEVERITY_NUMBERS[type.severity]);
    writeString(SEVERITY_TEXT, type.severity);
    writeString(EVENT_NAME, eventName(type));
    writeTypeAttributes(type, attributes);
  });
  typeFields.set(type, made);
  return made;
}

let lastServer: { readonly name: string; readonly field: Buffer } | null = null;

/** Length and field `resource`. Neighbouring events have the same server. */
function resourceOf(server: string): Buffer {
  if (lastServer?.name === server) return lastServer.field;
  const name = cutUtf8(server, LONGEST_SERVER);
  const content = Buffer.concat([
    resourceAttribute('service.name', SERVICE_NAME),
    resourceAttribute('host.name', name),
  ]);
  const field = lengthDelimited(FIRST, content);
  const length = Buffer.alloc(2);
  length.writeUInt16LE(field.length);
  lastServer = { name: server, field: Buffer.concat([length, field]) };
  return lastServer.field;
}

function resourceAttribute(key: string, value: string): Buffer {
  const text = lengthDelimited(VALUE, lengthDelimited(STRING, Buffer.from(value)));
  return lengthDelimited(FIRST, Buffer.concat([keyField(key), text]));
}

/** Writes a message. @returns its end; more than the length of `into` if it did not fit. @throws RangeError if it did not fit */
function writeMessage(event: AuditEvent, isTruncated: boolean, into: Buffer, start: number): number {
  memory = into;
  at = start;
  const resource = resourceOf(event.server);
  memory.set(resource, at);
  at += resource.length;
  const head = at;
  at += 3;
  const content = at;
  const { type } = event;
  const time = recordTime(event);
  if (time !== null) writeTime(TIME, time);
  writeTime(OBSERVED_TIME, event.ingested);
  const fields = fieldsOf(type);
  memory = into;
  memory.set(fields, at);
  at += fields.length;
  const body = recordBody(event);
  const length = textLength(body);
  memory[at++] = BODY;
  writeVarint(1 + varintLength(length) + length);
  memory[at++] = STRING;
  writeVarint(length);
  writeText(body, length);
  writeAttributes(event, isTruncated, attributes);
  if (at > into.length) return at;
  return closeRecord(into, head, content, at);
}

/** Writes tag and length before the record. Two bytes are left for the length; most records need them. */
function closeRecord(into: Buffer, head: number, content: number, end: number): number {
  const length = end - content;
  const size = varintLength(length);
  const moved = head + 1 + size;
  if (moved + length > into.length) return into.length + 1;
  if (moved !== content) into.copyWithin(moved, content, end);
  memory = into;
  at = head;
  memory[at++] = SECOND;
  writeVarint(length);
  return moved + length;
}

/** The texts of a row, and all else. */
const REST = 8_192;

function encodeRecord(event: AuditEvent, isTruncated: boolean): Buffer {
  const { user, resource, details, rawAction, rawAddress, rawTime, server, type, incomplete } = event;
  // The account that an event is about is in the details, or is the resource.
  const twice = [user.name, resource.id, details];
  const texts = [user.id, user.email, resource.type, ...twice, ...twice];
  const others = [rawAction, rawAddress, rawTime, server, type.title, type.action, type.action, incomplete];
  const size = [...texts, ...others].reduce((sum, text) => sum + (text?.length ?? 0), 0);
  const into = Buffer.allocUnsafe(size * 3 + REST);
  return into.subarray(0, writeMessage(event, isTruncated, into, 0));
}

/**
 * A formatter whose texts stand for bytes.
 *
 * @param mostBytes longest message; a longer event is shortened and marked
 */
export function createOtlpProtobuf(mostBytes: number): {
  format: Formatter;
  last(event: AuditEvent): string;
} {
  const format = (event: AuditEvent): string =>
    fitRecord(event, mostBytes, encodeRecord, ({ length }) => length).toString('latin1');
  const write = (event: AuditEvent, into: Buffer, start: number): number => {
    const end = writeMessage(event, false, into, start);
    return end < into.length && end - start <= mostBytes ? end : -1;
  };
  return { format: Object.assign(format, { write }), last: lastRecord };
}

/** A record that has only the identity of its row. */
function lastRecord(event: AuditEvent): string {
  const record = inOwnBuffer(1_024, () => {
    writeTime(OBSERVED_TIME, event.ingested);
    const body = lengthDelimited(BODY, lengthDelimited(STRING, Buffer.from(lastText(event))));
    memory.set(body, at);
    at += body.length;
    attributes.text('log.record.uid', event.id);
  });
  return Buffer.concat([resourceOf(''), lengthDelimited(SECOND, record)]).toString('latin1');
}

const SCOPE = lengthDelimited(
  FIRST,
  Buffer.concat([
    lengthDelimited(FIRST, Buffer.from(product.name)),
    lengthDelimited(SECOND, Buffer.from(product.version)),
  ]),
);

/** An ExportLogsServiceRequest with these messages. */
export function joinOtlpProtobuf(messages: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  for (let from = 0; from < messages.length; ) {
    const resource = resourceIn(messages[from] as Buffer);
    let to = from;
    const records: Buffer[] = [];
    let length = SCOPE.length;
    for (; to < messages.length; to++) {
      const message = messages[to] as Buffer;
      if (resource.compare(message, 0, resource.length) !== 0) break;
      const record = message.subarray(resource.length);
      records.push(record);
      length += record.length;
    }
    const scopeHead = fieldHead(SECOND, length);
    const field = resource.subarray(2);
    parts.push(
      fieldHead(FIRST, field.length + scopeHead.length + length),
      field,
      scopeHead,
      SCOPE,
      ...records,
    );
    from = to;
  }
  return Buffer.concat(parts);
}

/** Length and resource of a message. */
function resourceIn(message: Buffer): Buffer {
  return message.subarray(0, 2 + message.readUInt16LE(0));
}

/** A field of a protobuf message: its number, and where it and its content lie. */
interface ProtobufField {
  readonly number: number;
  /** A varint's value; null for the other types. */
  readonly value: number | null;
  readonly whole: Buffer;
  readonly content: Buffer;
}

/** The fields of a message; null if the bytes are not one. */
export function protobufFields(bytes: Buffer): ProtobufField[] | null {
  const fields: ProtobufField[] = [];
  let position = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; factor < 2 ** 63; factor *= 0x80) {
      const byte = bytes[position++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    return Number.NaN;
  };
  while (position < bytes.length) {
    const start = position;
    const tag = varint();
    const type = tag % 8;
    const isVarint = type === 0;
    const value = isVarint ? varint() : null;
    const length = isVarint ? 0 : type === 1 ? 8 : type === 5 ? 4 : type === 2 ? varint() : Number.NaN;
    const end = position + length;
    if (!(tag >= 8) || Number.isNaN(value ?? 0) || !(end <= bytes.length)) return null;
    const content = bytes.subarray(position, end);
    position = end;
    fields.push({ number: Math.floor(tag / 8), value, whole: bytes.subarray(start, end), content });
  }
  return fields;
}

/** An attribute that is longer is dropped after the details. */
const SHORT_ATTRIBUTE = 256;

/** The message without its details, else without its longest attributes; null if that is done already. */
export function shrinkOtlpProtobuf(message: Buffer): Buffer | null {
  const resource = resourceIn(message);
  const record = protobufFields(message.subarray(resource.length))?.[0];
  const fields = record === undefined ? null : protobufFields(record.content);
  if (fields === null) return null;
  const details = keyField(DETAILS_KEY);
  const isDetails = ({ content }: ProtobufField) => content.subarray(0, details.length).equals(details);
  const withoutDetails = fields.filter((field) => !isDetails(field));
  const isLong = ({ whole }: ProtobufField) => whole.length > SHORT_ATTRIBUTE;
  const kept =
    withoutDetails.length < fields.length ? withoutDetails : fields.filter((field) => !isLong(field));
  if (kept.length === fields.length) return null;
  const mark = inOwnBuffer(64, () => attributes.text(TRUNCATED_KEY, 'true'));
  const content = Buffer.concat([...kept.map(({ whole }) => whole), mark]);
  return Buffer.concat([resource, lengthDelimited(SECOND, content)]);
}
