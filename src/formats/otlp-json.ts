/**
 * OTLP log records in JSON (the mapping of protobuf with names in camel case, 64-bit numbers as text, enumerations as numbers).
 *
 * A message of one event is its resource, a newline and its record. A request joins neighbours with the same resource.
 */
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
import { utf8Length } from './utf8.js';

interface KeyValue {
  readonly key: string;
  readonly value: object;
}

function nanoseconds(milliseconds: number): string {
  return String(BigInt(Math.floor(milliseconds)) * 1_000_000n);
}

function resourceJson(server: string): string {
  const attribute = (key: string, text: string): KeyValue => ({ key, value: { stringValue: text } });
  return JSON.stringify({
    attributes: [attribute('service.name', SERVICE_NAME), attribute('host.name', server)],
  });
}

function encodeJson(event: AuditEvent, isTruncated: boolean): string {
  const attributes: KeyValue[] = [];
  const writer: AttributeWriter = {
    text: (key, value) => attributes.push({ key, value: { stringValue: value } }),
    number: (key, value) => attributes.push({ key, value: { intValue: String(value) } }),
    list: (key, values) =>
      attributes.push({
        key,
        value: { arrayValue: { values: values.map((value) => ({ stringValue: value })) } },
      }),
  };
  const { type } = event;
  const time = recordTime(event);
  writeTypeAttributes(type, writer);
  writeAttributes(event, isTruncated, writer);
  const record = {
    ...(time === null ? {} : { timeUnixNano: nanoseconds(time) }),
    observedTimeUnixNano: nanoseconds(event.ingested),
    severityNumber: SEVERITY_NUMBERS[type.severity],
    severityText: type.severity,
    body: { stringValue: recordBody(event) },
    attributes,
    eventName: eventName(type),
  };
  return `${resourceJson(event.server)}\n${JSON.stringify(record)}`;
}

/** @param mostBytes longest message; a longer event is shortened and marked */
export function createOtlpJson(mostBytes: number): { format: Formatter; last(event: AuditEvent): string } {
  return {
    format: (event) => fitRecord(event, mostBytes, encodeJson, utf8Length),
    last: (event) => {
      const record = {
        observedTimeUnixNano: nanoseconds(event.ingested),
        body: { stringValue: lastText(event) },
        attributes: [{ key: 'log.record.uid', value: { stringValue: event.id } }],
      };
      return `${resourceJson('')}\n${JSON.stringify(record)}`;
    },
  };
}

const SCOPE = JSON.stringify({ name: product.name, version: product.version });
const NEWLINE = 10;
const COMMA = Buffer.from(',');

/** An ExportLogsServiceRequest with these messages. */
export function joinOtlpJson(messages: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.from('{"resourceLogs":[')];
  let resource: Buffer | null = null;
  for (const message of messages) {
    const end = message.indexOf(NEWLINE);
    const own = message.subarray(0, end);
    if (resource === null || !resource.equals(own)) {
      if (resource !== null) parts.push(Buffer.from(']}]},'));
      resource = own;
      parts.push(
        Buffer.from('{"resource":'),
        own,
        Buffer.from(`,"scopeLogs":[{"scope":${SCOPE},"logRecords":[`),
      );
    } else parts.push(COMMA);
    parts.push(message.subarray(end + 1));
  }
  parts.push(Buffer.from(resource === null ? ']}' : ']}]}]}'));
  return Buffer.concat(parts);
}

/** An attribute that is longer is dropped after the details. */
const SHORT_ATTRIBUTE = 256;

/** The message without its details, else without its longest attributes; null if that is done already. */
export function shrinkOtlpJson(message: Buffer): Buffer | null {
  const end = message.indexOf(NEWLINE) + 1;
  const record = JSON.parse(message.toString('utf8', end)) as { attributes: KeyValue[] };
  const { attributes } = record;
  const withoutDetails = attributes.filter(({ key }) => key !== DETAILS_KEY);
  const isShort = (attribute: KeyValue) => JSON.stringify(attribute).length <= SHORT_ATTRIBUTE;
  const kept = withoutDetails.length < attributes.length ? withoutDetails : attributes.filter(isShort);
  if (kept.length === attributes.length) return null;
  const mark: KeyValue = { key: TRUNCATED_KEY, value: { stringValue: 'true' } };
  const shorter = JSON.stringify({ ...record, attributes: [...kept, mark] });
  return Buffer.concat([message.subarray(0, end), Buffer.from(shorter)]);
}
