import { isIP } from 'node:net';
import { z } from 'zod';
import { certificatePair } from './belong-together.js';
import { absolutePath, durationBetween, durationSchema, only, sizeSchema } from './duration-and-size.js';
import { everySink, startAt } from './event-filter-schema.js';

const TRANSPORTS = ['udp', 'tcp', 'tls', 'unix', 'unix-stream', 'relp'] as const;

const FACILITIES = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
  'ntp',
  'audit',
  'alert',
  'clock',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const;

/** The largest UDP payload over IPv4. */
const MAX_DATAGRAM = 65_507;

/** Where a collector listens: a host and a port, or the path of a unix socket. */
export type SyslogTarget =
  | { readonly kind: 'host'; readonly host: string; readonly port: number; readonly text: string }
  | { readonly kind: 'path'; readonly path: string; readonly text: string };

/** Reads `host:port`, `[IPv6]:port` or `/path`; null for any other text. */
export function parseTarget(text: string): SyslogTarget | null {
  if (text.startsWith('/')) return { kind: 'path', path: text, text };
  const match = /^(?:\[([^\]]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const host = match[1] ?? match[2] ?? '';
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) return null;
  if (match[1] !== undefined && isIP(host.replace(/%[^%]+$/, '')) !== 6) return null;
  return { kind: 'host', host, port, text };
}

/** 64 lower-case hex digits of a SHA-256 fingerprint in any usual spelling; null for any other text. */
export function parseFingerprint(text: string): string | null {
  const hex = text
    .trim()
    .replace(/^sha-?256[:=]/i, '')
    .replaceAll(':', '')
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(hex) ? hex : null;
}

const fingerprint = z
  .string()
  .refine(
    (text) => parseFingerprint(text) !== null,
    only('a SHA-256 fingerprint such as "SHA256:9F:86:…" (32 bytes in hex)'),
  )
  .transform((text) => parseFingerprint(text) ?? '');

/** TLS to a receiver: of syslog, and of HTTP. */
export const tlsClient = z.strictObject({
  ca: absolutePath
    .optional()
    .describe('PEM file of the trusted certificate authorities; left out: those of the host.'),
  cert: absolutePath.optional().describe('Client certificate, a PEM file; together with key.'),
  key: absolutePath.optional().describe('Private key of the client certificate, a PEM file.'),
  fingerprint: z
    .union([fingerprint.transform((one) => [one]), z.array(fingerprint).min(1)])
    .optional()
    .describe(
      'Only certificates of the receiver with these SHA-256 fingerprints are accepted: one or a list. Without ca, any signer is accepted.',
    ),
  server_name: z
    .string()
    .min(1)
    .optional()
    .describe('Name in the certificate, if it differs from the host that is connected to.'),
  min_version: z.enum(['1.2', '1.3']).default('1.2').describe('Oldest version of TLS that is accepted.'),
});

const replayWindow = z.strictObject({
  events: z
    .int()
    .min(0)
    .default(1_000)
    .describe('How many of the last events are sent again after a reconnect over tcp or tls.'),
  bytes: sizeSchema.prefault('16M').describe('The same in bytes; the largest of the three counts.'),
  age: durationSchema.prefault('60s').describe('The same as a duration.'),
});

const fields = z
  .strictObject({
    type: z.literal('syslog'),
    ...everySink,
    required: z
      .boolean()
      .optional()
      .describe(
        'Retention never removes a row that a required sink has not delivered. Left out: true, but false for udp and unix sockets.',
      ),
    start: startAt('now'),
    transport: z
      .enum(TRANSPORTS)
      .describe('Transport protocol. Only over relp the collector acknowledges each message.'),
    targets: z
      .array(z.string())
      .min(1)
      .max(16)
      .describe('Targets, tried in order: host:port, or the path of a unix socket.'),
    framing: z
      .enum(['octet-counting', 'newline'])
      .optional()
      .describe(
        'Framing of the messages over tcp and tls (RFC 6587). Left out: octet-counting, or newline over unix-stream.',
      ),
    format: z
      .enum(['ecs', 'cef', 'leef', 'ocsf', 'text'])
      .default('ecs')
      .describe('Format of the message body.'),
    envelope: z
      .enum(['rfc5424', 'rfc3164'])
      .optional()
      .describe(
        'Syslog header of the message; rfc3164 for old collectors. Left out: rfc5424, or rfc3164 with format leef, which QRadar expects there.',
      ),
    facility: z.enum(FACILITIES).default('authpriv').describe('Syslog facility.'),
    app_name: z
      .string()
      .regex(/^[\x21-\x7e]{1,48}$/, 'a name of 1 to 48 printable ASCII characters without spaces')
      .default('postern-auditd')
      .describe('APP-NAME, by which collectors identify the program.'),
    max_message_size: sizeSchema
      .optional()
      .describe(
        'Longest message. A longer one is shortened within its format and says so. Left out: 8K, or 1400B over udp.',
      ),
    structured_data: z
      .strictObject({
        id: z
          .string()
          .nullable()
          .default(null)
          .describe(
            'SD-ID of the structured data with the main fields (name@number); null: no structured data.',
          ),
      })
      .prefault({})
      .describe('Structured data of RFC 5424.'),
    bom: z.boolean().default(false).describe('Begin the message with the byte order mark of RFC 5424.'),
    replay_window: replayWindow.prefault({}).describe('What is sent again after a reconnect.'),
    window: z
      .int()
      .min(1)
      .max(10_000)
      .optional()
      .describe(
        'relp: how many messages may be sent without an acknowledgement. At most this many arrive twice when the daemon is killed. Left out: 128, and up to 1000 in a backlog.',
      ),
    tls: tlsClient.optional().describe('For tls, and for relp over TLS.'),
    connect_timeout: durationBetween('100ms', '30s')
      .prefault('10s')
      .describe('Timeout of a connection attempt.'),
  })
  .describe('A syslog collector. Without a sink of this type, nothing leaves the host.');

type Fields = z.infer<typeof fields>;

/** Conflicting keys, as `[key, what to do]`. */
function contradictions(sink: Fields): Array<[keyof Fields, string]> {
  const { transport } = sink;
  const found: Array<[keyof Fields, string]> = [];
  const unix = transport === 'unix' || transport === 'unix-stream';
  for (const text of sink.targets) {
    const target = parseTarget(text);
    if (target === null || (target.kind === 'path') !== unix) {
      const wanted = unix
        ? 'the absolute path of a socket, such as /dev/log'
        : 'host:port, such as siem.example.net:6514 or [2001:db8::1]:6514';
      found.push(['targets', `${JSON.stringify(text)}: transport ${transport} needs ${wanted}`]);
    }
  }
  if (sink.framing !== undefined && (transport === 'udp' || transport === 'unix' || transport === 'relp')) {
    found.push(['framing', `transport ${transport} has a framing of its own; leave the key out`]);
  }
  if (sink.tls !== undefined && transport !== 'tls' && transport !== 'relp') {
    found.push([
      'tls',
      `transport ${transport} has no TLS; set transport to tls (or relp), or leave the key out`,
    ]);
  }
  found.push(...certificatePair(sink.tls));
  if (transport === 'udp' && (sink.max_message_size ?? 0) > MAX_DATAGRAM) {
    found.push(['max_message_size', `a datagram has at most ${MAX_DATAGRAM} bytes`]);
  }
  if (sink.envelope === 'rfc3164' && (sink.bom || sink.structured_data.id !== null)) {
    found.push([
      sink.bom ? 'bom' : 'structured_data',
      'RFC 3164 does not have it; use envelope: rfc5424, or leave the key out',
    ]);
  }
  return found;
}

/** One datagram must fit the path MTU of Ethernet and most tunnels (RFC 5426 section 3.2). */
const UDP_MESSAGE = 1_400;
const MESSAGE = 8 * 2 ** 10;

/** Only RFC 5424 has a byte order mark and structured data. */
function defaultEnvelope({ format, bom, structured_data: data }: Fields): 'rfc5424' | 'rfc3164' {
  return format === 'leef' && !bom && data.id === null ? 'rfc3164' : 'rfc5424';
}

/** A syslog collector. Defaults that depend on transport and format are filled in. */
export const syslogSink = fields
  .superRefine((sink, context) => {
    for (const [key, message] of contradictions(sink))
      context.addIssue({ code: 'custom', path: [key], message });
  })
  .transform((sink) => {
    const local = sink.transport === 'unix' || sink.transport === 'unix-stream';
    return {
      ...sink,
      required: sink.required ?? !(sink.transport === 'udp' || local),
      framing:
        sink.framing ??
        (sink.transport === 'unix-stream' ? ('newline' as const) : ('octet-counting' as const)),
      envelope: sink.envelope ?? defaultEnvelope(sink),
      max_message_size: sink.max_message_size ?? (sink.transport === 'udp' ? UDP_MESSAGE : MESSAGE),
    };
  });

export type SyslogSinkConfig = z.infer<typeof syslogSink>;
export type SyslogTlsConfig = z.infer<typeof tlsClient>;
