/**
 * Events as actions of Elasticsearch's bulk API: a line with the action, and a line with the document, which is the line of the files.
 * `create` with the event's id stores an event once per index, however often it is sent.
 */
import type { AuditEvent } from '../audit/event.js';
import { bodies } from './body-formats.js';
import { lastLine } from './format-fallback.js';
import { type MemberPath, minimalJson } from './minimal-json.js';
import { shrinkDetails } from './shrink-details.js';
import { fitBody } from './shrink-to-size.js';
import type { Formatter } from './syslog-message.js';
import { fitsUtf8, utf8Length } from './utf8.js';

/** Bytes of an action without index and id, and its newline. */
const ACTION_BYTES = 64;

interface BulkFormat {
  /** Action and document, without the newline at the end. */
  readonly format: Formatter;
  readonly last: (event: AuditEvent) => string;
}

/**
 * @param index null: the index is in the url
 * @param mostBytes longest action and document; a longer document is shortened and marked
 */
export function createBulkFormat(index: string | null, mostBytes: number): BulkFormat {
  const start = `{"create":{${index === null ? '' : `"_index":${JSON.stringify(index)},`}"_id":"`;
  const head = Buffer.from(start);
  const most = mostBytes - head.length - ACTION_BYTES;
  const action = (id: string) => `${start}${id}"}}\n`;
  const format = (event: AuditEvent): string => {
    const line = bodies.ecs.format(event, {});
    return action(event.id) + (fitsUtf8(line, most) ? line : fitBody(event, most, bodies.ecs, {}));
  };
  const write = (event: AuditEvent, into: Buffer, at: number): number => {
    if (into.length - at < head.length + ACTION_BYTES) return -1;
    let end = at + head.copy(into, at);
    end += into.write(event.id, end, 'latin1');
    end += into.write('"}}\n', end, 'latin1');
    const from = end;
    end = bodies.ecs.write?.(event, into, from) ?? -1;
    return end - from <= most ? end : -1;
  };
  return { format: Object.assign(format, { write }), last: (event) => action(event.id) + lastLine(event) };
}

const LEAST: readonly MemberPath[] = [
  ['@timestamp'],
  ['event', 'action'],
  ['event', 'outcome'],
  ['event', 'sequence'],
  ['event', 'id'],
  ['source', 'ip'],
  ['user', 'name'],
  ['host', 'name'],
  ['log.level'],
];
/** The least form is not longer. */
const LEAST_BYTES = 1_024;

/**
 * A document in Elastic Common Schema that is shorter: first its details are shortened, then only its main members stay. Marked with
 * `postern.truncated`. Null if it is as short as the least form already.
 *
 * @param bytes the result is at most as long, or the least form
 */
export function shrinkDocument(json: string, bytes: number): string | null {
  if (fitsUtf8(json, LEAST_BYTES)) return null;
  const document = JSON.parse(json) as { postern?: Record<string, unknown> };
  const { details, ...postern } = document.postern ?? {};
  const text = JSON.stringify({ ...document, postern: { ...postern, truncated: true } });
  const budget = bytes - utf8Length(text) - 12;
  const kept =
    details == null || budget < 2 ? null : shrinkDetails(JSON.stringify(details), budget, utf8Length);
  if (kept !== null) return `${text.slice(0, -2)},"details":${kept}}}`;
  if (fitsUtf8(text, bytes)) return text;
  const { source, timeline } = postern;
  return minimalJson(json, LEAST_BYTES, LEAST, { postern: { source, timeline, truncated: true } });
}
