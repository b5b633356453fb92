import { createHash } from 'node:crypto';
import type { Severity } from '../audit/catalog.js';
import { type AuditEvent, publicId } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import { printable } from './escape-unprintable.js';
import { IsoTime } from './iso-time.js';
import { type Facility, priority } from './priority.js';
import { cutUtf8 } from './utf8.js';

export interface Rfc5424Options {
  readonly facility: Facility;
  /** APP-NAME, cut at 48 characters. */
  readonly appName: string;
  /** PROCID, cut at 128 characters; null is sent as `-`. */
  readonly procId: string | null;
  /** SD-ID with a private enterprise number, `audit@32473`; null omits structured data (`-`). */
  readonly structuredDataId: string | null;
  /** Whether U+FEFF precedes the body (section 6.4). */
  readonly bom: boolean;
  /** Longest HOSTNAME; default: 255. */
  readonly hostnameLength?: number;
}

const MSGID_LENGTH = 32;
const HASH_LENGTH = 12;
/** Structured data has at most this many bytes of a value that a client may have chosen. */
const PARAM_BYTES = 256;
const notPrintUsAscii = /[^\x21-\x7e]/g;

/** PRINTUSASCII of limited length, with everything else as `_`; `-` (NILVALUE) if nothing is left. */
export function headerField(text: string | null, length: number): string {
  if (text === null || text === '') return '-';
  return text.slice(0, length).replace(notPrintUsAscii, '_');
}

/**
 * The canonical action as MSGID: unchanged if it fits, else its beginning and 12 hex digits of its SHA-256, so that
 * two actions never share a MSGID.
 */
export function messageId(action: string): string {
  if (action === '') return '-';
  const field = headerField(action, Number.POSITIVE_INFINITY);
  if (field === action && field.length <= MSGID_LENGTH) return field;
  const hash = createHash('sha256').update(action).digest('hex').slice(0, HASH_LENGTH);
  return `${field.slice(0, MSGID_LENGTH - HASH_LENGTH - 1)}~${hash}`;
}

/** The years 1970 to 2099: rsyslog 8.2302 does not parse a message with a later year as RFC 5424. */
export function isWritable(time: number | null): time is number {
  return time !== null && time >= 0 && time < 4_102_444_800_000;
}

const isoTime = new IsoTime();

/** RFC 3339 in UTC with milliseconds; `-` (NILVALUE) if the time is unknown or receivers can't read it. */
export function rfc5424Timestamp(time: number | null): string {
  return isWritable(time) ? isoTime.milliseconds(Math.floor(time)) : '-';
}

/** A PARAM-VALUE between its quotes, section 6.3.3. */
function param(name: string, value: string | null): string {
  if (value === null || value === '') return '';
  return ` ${name}="${printable(cutUtf8(value, PARAM_BYTES)).replace(/["\\\]]/g, '\\$&')}"`;
}

/** One SD-ELEMENT that identifies the event. */
function structuredData(id: string, event: AuditEvent): string {
  return (
    `[${id} id="${event.id}" entry="${publicId(event)}" timeline="${event.timeline}"` +
    param('action', event.action) +
    param('category', event.type.category) +
    param('outcome', event.type.outcome) +
    param('src', event.address) +
    param('server', event.server) +
    param('user', event.user.name ?? event.user.email) +
    param('resourceType', event.resource.type) +
    param('resourceId', event.resource.id) +
    ']'
  );
}

/**
 * Checks a private SD-ID: `name@number`, at most 32 characters (RFC 5424 sections 6.3.2 and 7).
 * @throws {AuditdError} CONFIG_INVALID
 */
export function checkStructuredDataId(id: string): void {
  if (id.length <= 32 && /^[\x21\x23-\x3c\x3e\x3f\x41-\x5c\x5e-\x7e]+@\d+(\.\d+)*$/.test(id)) return;
  throw new AuditdError('CONFIG_INVALID', `structured_data.id ${JSON.stringify(id)} is not an SD-ID`, {
    next: 'Write a name, @ and your private enterprise number, such as "audit@32473", without spaces and with at most 32 characters',
  });
}

/**
 * Creates the function that builds the text before the body, up to its last space (and the BOM).
 * @throws {AuditdError} CONFIG_INVALID if the SD-ID can't be sent
 */
export function createRfc5424Header(options: Rfc5424Options): (event: AuditEvent) => string {
  const { structuredDataId, hostnameLength = 255 } = options;
  if (structuredDataId !== null) checkStructuredDataId(structuredDataId);
  const starts = new Map<Severity, string>();
  const messageIds = new Map<string, string>();
  const source = `${headerField(options.appName, 48)} ${headerField(options.procId, 128)}`;
  const bom = options.bom ? '\ufeff' : '';
  let server: string | null = null;
  let host = '-';

  function start(severity: Severity): string {
    const made = `<${priority(options.facility, severity)}>1`;
    starts.set(severity, made);
    return made;
  }

  function msgId(action: string): string {
    const made = messageId(action);
    // Actions outside the catalog come from the rows. The cache must not grow with them.
    if (messageIds.size < 1_000) messageIds.set(action, made);
    return made;
  }

  return (event) => {
    if (event.server !== server) {
      server = event.server;
      host = headerField(server, hostnameLength);
    }
    const pri = starts.get(event.type.severity) ?? start(event.type.severity);
    const id = messageIds.get(event.action) ?? msgId(event.action);
    const data = structuredDataId === null ? '-' : structuredData(structuredDataId, event);
    return `${pri} ${rfc5424Timestamp(event.time)} ${host} ${source} ${id} ${data} ${bom}`;
  };
}
