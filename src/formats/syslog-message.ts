import type { AuditEvent } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import { type BodyFormat, type BodyOptions, bodies, LEAST_BODY } from './body-formats.js';
import type { Facility } from './priority.js';
import { createRfc3164Header } from './rfc3164.js';
import { createRfc5424Header } from './rfc5424.js';
import { fitBody } from './shrink-to-size.js';
import { fitsUtf8, utf8Length } from './utf8.js';

type Envelope = 'rfc5424' | 'rfc3164';

export interface SyslogFormatOptions {
  readonly format: BodyFormat;
  readonly envelope: Envelope;
  readonly facility: Facility;
  readonly appName: string;
  readonly procId: string | null;
  /** `name@number`, or null for `-`. RFC 5424 only. */
  readonly structuredDataId: string | null;
  /** Whether a byte order mark precedes the body. RFC 5424 only. */
  readonly bom: boolean;
  /** Bytes of header and body together, without the framing. */
  readonly maxMessageSize: number;
  /** The zone of RFC 3164's time stamp; default: `local`, as in section 4.1.2. */
  readonly zone?: 'local' | 'utc';
  /** Version of the product in the body; default: the installed one. */
  readonly version?: string;
}

/** Defaults for the schema of the configuration. 8K is rsyslog's own default (RFC 5425: 8,192 octets). */
export const syslogFormatDefaults = {
  format: 'ecs',
  envelope: 'rfc5424',
  facility: 'authpriv',
  appName: 'postern-auditd',
  structuredDataId: null,
  bom: false,
  maxMessageSize: 8_192,
} as const;

/** The size that every receiver must accept (RFC 5424 section 6.1). */
const LEAST_MESSAGE_SIZE = 480;
/** Below this size a long host name would leave too little room for the body. */
const FULL_HOSTNAME_FROM = 2_048;
const SHORT_HOSTNAME = 64;

/** Formats an event as the text of a message. */
export interface Formatter {
  (event: AuditEvent): string;
  /**
   * Writes the same message into memory, if that is faster. Returns its end; -1 if it was not written (it does
   * not fit, or is not plain ASCII): then the bytes after `start` are undefined.
   */
  readonly write?: (event: AuditEvent, into: Buffer, start: number) => number;
}

type Header = (event: AuditEvent) => string;

function createHeader(options: SyslogFormatOptions, structuredDataId: string | null): Header {
  const hostnameLength = options.maxMessageSize < FULL_HOSTNAME_FROM ? SHORT_HOSTNAME : 255;
  if (options.envelope === 'rfc5424') {
    return createRfc5424Header({ ...options, structuredDataId, hostnameLength });
  }
  const { facility, zone = 'local' } = options;
  // After an RFC 3164 header both formats prescribe `host CEF:0|…` and `host LEEF:2.0|…`.
  const tagged = options.format !== 'cef' && options.format !== 'leef';
  const appName = tagged ? options.appName : null;
  return createRfc3164Header({ facility, zone, appName, procId: options.procId, hostnameLength });
}

/** The longest header that the options allow, without structured data. */
function longestHeader(options: SyslogFormatOptions): number {
  const host = options.maxMessageSize < FULL_HOSTNAME_FROM ? SHORT_HOSTNAME : 255;
  const name = Math.min(options.appName.length, 48) + Math.min(options.procId?.length ?? 1, 128);
  return '<191>1 2026-11-22T20:21:00.000Z  '.length + host + name + 2 + 33 + 2 + (options.bom ? 3 : 0);
}

/**
 * Creates the function that formats an event as one syslog message: header and body, without framing, line end or
 * control characters, and never longer than `maxMessageSize` bytes in UTF-8. The same event gives the same message.
 *
 * @throws {AuditdError} CONFIG_INVALID if the size leaves no room for a body, or the SD-ID can't be sent
 */
export function createFormatter(options: SyslogFormatOptions): Formatter {
  const { maxMessageSize } = options;
  const least = Math.max(LEAST_MESSAGE_SIZE, longestHeader(options) + LEAST_BODY);
  if (!Number.isInteger(maxMessageSize) || maxMessageSize < least) {
    throw new AuditdError(
      'CONFIG_INVALID',
      `max_message_size ${maxMessageSize} is too small for header and body`,
      { next: `Set it to ${least} or more (8K is usual)` },
    );
  }
  const body = bodies[options.format];
  const bodyOptions: BodyOptions = options.version === undefined ? {} : { version: options.version };
  const header = createHeader(options, options.structuredDataId);
  const bareHeader = options.structuredDataId === null ? header : createHeader(options, null);

  const format = (event: AuditEvent): string => {
    let start = header(event);
    // Structured data repeats the body, so it is the first to be dropped.
    if (start.length * 4 > maxMessageSize && !fitsUtf8(start, maxMessageSize >> 1)) start = bareHeader(event);
    const message = start + body.format(event, bodyOptions);
    if (fitsUtf8(message, maxMessageSize)) return message;
    return start + fitBody(event, maxMessageSize - utf8Length(start), body, bodyOptions);
  };
  // Bytes are always written with the installed version.
  if (body.write === undefined || options.version !== undefined) return format;
  const { write: writeBody } = body;
  const write = (event: AuditEvent, into: Buffer, start: number): number => {
    const text = header(event);
    if (text.length * 4 > maxMessageSize || text.length * 3 > into.length - start) return -1;
    const end = writeBody(event, into, start + into.write(text, start));
    return end - start <= maxMessageSize ? end : -1;
  };
  return Object.assign(format, { write });
}
