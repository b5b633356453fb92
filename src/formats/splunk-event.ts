import type { AuditEvent } from '../audit/event.js';
import { bodies } from './body-formats.js';
import { quote } from './ecs.js';
import { shrinkDocument } from './elasticsearch-bulk.js';
import { lastLine } from './format-fallback.js';
import { fitBody } from './shrink-to-size.js';
import type { Formatter } from './syslog-message.js';
import { cutUtf8, fitsUtf8 } from './utf8.js';

const SOURCETYPE = 'postern:audit';
/** Bytes of what is around the event, without the index; a host name is cut at 255 bytes. */
const ENVELOPE_BYTES = 2_048;
const LONGEST_HOST = 255;
const EVENT = ',"event":';

/**
 * Events for Splunk's HTTP Event Collector: the line of the files as `event`, with time, host, source and sourcetype around it.
 *
 * @param index null: the default index of the token
 * @param mostBytes longest message; a longer event is shortened and marked
 */
export function createSplunkEvent(
  index: string | null,
  mostBytes: number,
): { format: Formatter; last(event: AuditEvent): string } {
  const most = mostBytes - ENVELOPE_BYTES;
  const fixed = `"source":"postern-auditd","sourcetype":"${SOURCETYPE}"${index === null ? '' : `,"index":${JSON.stringify(index)}`}${EVENT}`;
  const head = (event: AuditEvent) =>
    `{"time":${((event.time ?? event.ingested) / 1_000).toFixed(3)},"host":${quote(cutUtf8(event.server, LONGEST_HOST))},${fixed}`;
  const format = (event: AuditEvent): string => {
    const line = bodies.ecs.format(event, {});
    return `${head(event)}${fitsUtf8(line, most) ? line : fitBody(event, most, bodies.ecs, {})}}`;
  };
  const write = (event: AuditEvent, into: Buffer, start: number): number => {
    const text = head(event);
    if (text.length * 3 > into.length - start) return -1;
    const from = start + into.write(text, start);
    const end = bodies.ecs.write?.(event, into, from) ?? -1;
    if (end < 0 || end - from > most || end >= into.length) return -1;
    into[end] = CLOSE;
    return end + 1;
  };
  return {
    format: Object.assign(format, { write }),
    last: (event) => `{"time":${(event.ingested / 1_000).toFixed(3)},${fixed}${lastLine(event)}}`,
  };
}

const CLOSE = '}'.charCodeAt(0);

/** The message with a shorter event; null if it is in its least form. */
export function shrinkSplunkEvent(message: Buffer, bytes: number): Buffer | null {
  const text = message.toString('utf8');
  const from = text.indexOf(EVENT) + EVENT.length;
  const event = shrinkDocument(text.slice(from, -1), bytes - from - 1);
  return event === null ? null : Buffer.from(`${text.slice(0, from)}${event}}`);
}
