import { type AuditEvent, publicId } from '../audit/event.js';
import { cefSeverities } from './cef.js';
import { printable } from './escape-unprintable.js';
import { product } from './observer.js';
import { formatPlainText } from './plain-text.js';
import { rfc5424Timestamp } from './rfc5424.js';
import { targetUser } from './target-user.js';
import { cutUtf8 } from './utf8.js';

export interface LeefOptions {
  /** Adds `truncated=true`. */
  readonly truncated?: boolean;
  /** Omits `msg`. */
  readonly brief?: boolean;
  /** Product version in the header; default: the installed one. */
  readonly version?: string;
}

/** Not a tab, the default: relays rewrite control characters (rsyslog: `#011`). */
const LEEF_DELIMITER = '^';
/** QRadar's limit for EventID. */
const EVENT_ID_LENGTH = 255;

/** Matches a text that needs no escape in a value. All other texts are examined. */
const plain = /^[ -\]_-~]*$/;
const escapes: Readonly<Record<string, string>> = { '^': '\\u005e', '\r': '\\r', '\n': '\\n' };

/**
 * A value. LEEF has no escapes and QRadar undoes none, so only what would end a value or a line is written as an escape of JSON (in
 * `details` it is one): the delimiter, CR and LF. A backslash and `=` stay as they are. Other control characters are shown as pictures.
 */
export function escapeLeefValue(value: string): string {
  if (plain.test(value)) return value;
  return printable(value.replace(/[\^\r\n]/g, (character) => escapes[character] ?? character));
}

/** A field of the header, which has no escape: a pipe becomes `_`. */
function leefHeaderField(field: string): string {
  return printable(field).replaceAll('|', '_');
}

function header(action: string, version: string, idBytes = EVENT_ID_LENGTH): string {
  const id = cutUtf8(leefHeaderField(action), idBytes);
  return `LEEF:2.0|${product.vendor}|${product.name}|${leefHeaderField(version)}|${id}|${LEEF_DELIMITER}|`;
}

function pair(key: string, value: string | null): string {
  return value === null || value === '' ? '' : `${key}=${escapeLeefValue(value)}${LEEF_DELIMITER}`;
}

function time(event: AuditEvent): string {
  const written = rfc5424Timestamp(event.time);
  if (written === '-') {
    const raw = event.time === null ? event.rawTime : new Date(event.time).toISOString();
    return pair('rawTime', raw) + pair('ingested', rfc5424Timestamp(event.ingested));
  }
  return `devTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ^devTime=${written.slice(0, -1)}+0000^`;
}

/** The account that the event is about, if it is one of the category `user`. */
function target(event: AuditEvent): string {
  const about = targetUser(event);
  if (about === null) return '';
  const { id = null, name = null, email = null } = about.target;
  return pair('targetUserId', id) + pair('targetUserName', name ?? email) + pair('targetUserEmail', email);
}

/**
 * An event in IBM's Log Event Extended Format 2.0, delimited by `^`. `sev` is 1 to 10. Without a readable time there
 * is no `devTime`, and QRadar uses the time of arrival.
 */
export function formatLeef(event: AuditEvent, options: LeefOptions = {}): string {
  const { version = product.version } = options;
  return (
    header(event.action, version) +
    time(event) +
    pair('src', event.address) +
    `sev=${cefSeverities[event.type.severity]}^` +
    pair('cat', event.type.category) +
    `outcome=${event.type.outcome}^` +
    pair('action', event.action) +
    pair('serverName', event.server) +
    `entry=${publicId(event)}^timeline=${event.timeline}^` +
    (event.revisionOf === null ? '' : `revisionOf=${event.revisionOf}^`) +
    (options.truncated === true || event.incomplete ? 'truncated=true^' : '') +
    pair('usrName', event.user.name ?? event.user.email) +
    pair('userId', event.user.id) +
    pair('userEmail', event.user.email) +
    target(event) +
    pair('resourceType', event.resource.type) +
    pair('resourceId', event.resource.id) +
    pair('details', event.details) +
    pair('rawAction', event.rawAction) +
    pair('rawAddress', event.rawAddress) +
    (options.brief === true ? '' : pair('msg', formatPlainText(event))) +
    `eventId=${event.id}`
  );
}

/** The header and the identity of the event, in at most 256 bytes. */
export function minimalLeef(event: AuditEvent, options: LeefOptions = {}): string {
  const { version = product.version } = options;
  const severity = cefSeverities[event.type.severity];
  return `${header(event.action, version, 40)}sev=${severity}^truncated=true^eventId=${event.id}`;
}
