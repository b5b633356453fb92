import { z } from 'zod';
import { isTimeZone } from '../audit/time-zone.js';
import { alerts } from './alerts.js';
import { api } from './api.js';
import {
  absolutePath,
  durationBetween,
  durationSchema,
  fileMode,
  only,
  sizeSchema,
} from './duration-and-size.js';
import { type eventsFilter, everySink, required, startAt } from './event-filter-schema.js';
import { fleet } from './fleet.js';
import { httpSink } from './http.js';
import { jetstreamSink } from './jetstream.js';
import { retention } from './retention.js';
import { syslogSink } from './syslog.js';
import { webhookSink } from './webhook.js';

const text = z.string().min(1);

/** Keys of both kinds of local files. */
const localFiles = {
  ...everySink,
  required: required(true),
  start: startAt('beginning'),
};

const mode = fileMode
  .prefault('0640')
  .describe('Mode of the files, in octal and in quotes; the directory gets the matching mode.');

const group = text
  .nullable()
  .default('adm')
  .describe("Group of the files and the directory; null: the daemon's own.");

export const fileSink = z
  .strictObject({
    type: z.literal('file'),
    directory: absolutePath
      .default('/var/log/posternproxy/audit')
      .describe('Directory of the files; nothing else may write to it.'),
    roll: z
      .strictObject({
        size: sizeSchema
          .refine((bytes) => bytes > 0, only('a size above 0'))
          .prefault('100M')
          .describe('Size at which a new file starts.'),
        every: durationBetween('1m', '10y')
          .nullable()
          .prefault('1d')
          .describe('Age at which a new file starts; null: by size alone.'),
        keep: z.int().min(1).max(10_000).default(30).describe('How many of the newest files are kept.'),
      })
      .prefault({})
      .describe('When a new file starts, and how many files are kept.'),
    max_line_size: sizeSchema
      .refine((bytes) => bytes >= 4_096, only('a size of 4K or more'))
      .prefault('256K')
      .describe(
        'Longest line. Readers of log files cut longer lines or stop at them. The details of a longer event are shortened, and the event says so; the table keeps all of it.',
      ),
    mode,
    group,
    ...localFiles,
  })
  .describe('Every event as a line of ECS JSON, in numbered files; current.log is a link to the newest.');

export const fail2banSink = z
  .strictObject({
    type: z.literal('fail2ban'),
    directory: absolutePath
      .default('/var/log/posternproxy/auth')
      .describe("Directory of the two files that the jail's logpath names."),
    roll: z
      .strictObject({
        size: sizeSchema
          .refine((bytes) => bytes > 0, only('a size above 0'))
          .prefault('20M')
          .describe('Size at which the other file of the pair starts; never twice within a minute.'),
      })
      .prefault({})
      .describe('When the other file of the pair starts.'),
    mode,
    group,
    ...everySink,
    required: z
      .boolean()
      .optional()
      .describe('Has no effect, accepted as in 0.1.0: the sink holds no row back from retention.'),
    start: z
      .enum(['beginning', 'now'])
      .optional()
      .describe('Has no effect, accepted as in 0.1.0: the sink writes fresh failures only.'),
  })
  .describe('What fail2ban reads: the fresh failed logins at this server. At most one sink has this type.');

/** Keys of a sink of type fail2ban that are accepted but should be removed, and why. */
export function needlessKeys(sinks: Config['sinks']): Array<{ readonly key: string; readonly why: string }> {
  return Object.entries(sinks).flatMap(([name, sink]) => {
    if (sink.type !== 'fail2ban') return [];
    const { required, start, events } = sink;
    const nothing = 'has no effect: a sink of type fail2ban writes fresh failures only and holds no row back';
    const keeps =
      'keeps failed logins from fail2ban, and nobody is banned for them; list addresses that must not be banned under fail2ban.never_ban';
    return [
      ...(required === undefined ? [] : [{ key: `sinks.${name}.required`, why: nothing }]),
      ...(start === undefined ? [] : [{ key: `sinks.${name}.start`, why: nothing }]),
      ...(events === undefined ? [] : [{ key: `sinks.${name}.events`, why: keeps }]),
    ];
  });
}

/** A new kind of sink has its schema in its own file and one entry in this list. */
const sink = z.discriminatedUnion('type', [
  fileSink,
  fail2banSink,
  syslogSink,
  jetstreamSink,
  httpSink,
  webhookSink,
]);

/** Null: a column that was read before has been removed for good. */
const optional = (name: string, what: string) => text.nullable().default(name).describe(what);

const columns = z.strictObject({
  id: text.default('id').describe('Its INTEGER PRIMARY KEY. Required.'),
  created_at: text
    .default('created_at')
    .describe(
      'Time as text (ISO 8601, or as Go writes it), or as the epoch in seconds to nanoseconds. Required.',
    ),
  user_id: optional('user_id', 'Number of the acting user.'),
  user_name: optional('user_name', 'Name of the acting user.'),
  user_email: optional('user_email', 'E-mail address of the acting user.'),
  action: text.default('action').describe('The action. Required.'),
  resource_type: optional('resource_type', 'Type of the resource.'),
  resource_id: optional('resource_id', 'Which one.'),
  details: optional('details', 'The change, as JSON text.'),
  ip_address: optional('ip_address', 'Address of the client.'),
  server: optional('server', 'Name of the server, where several share a table.'),
});

const TIME_ZONE = 'the name of a time zone, such as UTC, Europe/Berlin or Asia/Kolkata';

const source = z.strictObject({
  database: absolutePath
    .default('/var/lib/posternproxy/posternproxy.db')
    .describe("Postern's SQLite database. The daemon opens it read-only."),
  table: text.default('audit_log').describe('Its audit table, or a view of the same shape.'),
  poll_interval: durationBetween('10ms', '1h')
    .prefault('1s')
    .describe('How often to read, in addition to each change of the database.'),
  columns: columns
    .prefault({})
    .describe(
      'Names of the columns, where they differ. All but id, created_at and action may be missing; null for a column that was removed after rows were read with it.',
    ),
  time_zone: z
    .string()
    .refine(isTimeZone, only(TIME_ZONE))
    .default('UTC')
    .describe(
      'Time zone of times that are written without one: UTC, or Europe/Berlin if Postern writes local times. docs/internals/SOURCE.md, Times.',
    ),
  trusted_proxies: z
    .array(z.string())
    .default([])
    .describe(
      'Proxies whose lists of addresses (203.0.113.7, 172.18.0.1) are trusted: the last address that is not a proxy is the client. Without this key, a list is not an address.',
    ),
  aliases: z
    .record(z.string(), z.array(text))
    .default({})
    .describe(
      'Further spellings of an event, by its canonical name: { auth.login_failure: [signin_denied] }.',
    ),
});

export const fail2ban = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe(
      'Whether bans are wanted. install.sh and setup set it to false with --no-fail2ban, and check then does not look for bans.',
    ),
  jail: text.default('posternproxy').describe('Name of the jail.'),
  ports: z
    .array(z.int().min(1).max(65_535))
    .min(1)
    .default([80, 81, 443])
    .describe('Ports that a banned address can no longer reach: those that Postern listens on.'),
  protocols: z
    .array(z.enum(['tcp', 'udp']))
    .min(1)
    .default(['tcp', 'udp'])
    .describe('Protocols of these ports; HTTP/3 uses udp.'),
  chain: text
    .default('auto')
    .describe(
      'iptables chain: INPUT, DOCKER-USER for published container ports; auto chooses what the host has.',
    ),
  banaction: text.default('iptables-multiport').describe('The action of fail2ban that bans.'),
  max_retry: z.int().min(1).default(5).describe('How many failed logins from one address lead to a ban.'),
  find_time: durationSchema
    .refine((ms) => ms > 0, only('a duration above 0'))
    .prefault('10m')
    .describe('Period in which failed logins are counted.'),
  ban_time: durationSchema
    .refine((ms) => ms > 0, only('a duration above 0'))
    .prefault('1h')
    .describe('How long a ban lasts.'),
  never_ban: z
    .array(z.string())
    .default(['127.0.0.0/8', '::1'])
    .describe(
      'Addresses and networks that are never banned: their failures are kept from fail2ban. Addresses in ignoreip of its [DEFAULT] are not banned either.',
    ),
  ipv6_prefix: z
    .int()
    .min(32)
    .max(128)
    .default(64)
    .describe(
      'Prefix of the network that is banned for an IPv6 attacker; one host usually has a 64, and 128 bans the address alone. Actions with ipset ban the address alone.',
    ),
  bans: absolutePath
    .default('/var/log/posternproxy/bans/bans.log')
    .describe('File in which fail2ban reports its bans.'),
});

/** The most important keys come first. */
export const config = z.strictObject({
  server: z
    .string()
    .min(1)
    .optional()
    .describe('Name of this server in events whose row does not name one. Left out: the host name.'),
  source: source.prefault({}).describe('The source of the events.'),
  state: absolutePath
    .default('/var/lib/postern-auditd')
    .describe(
      'Directory of state.db, which holds the position of each sink and the events of the daemon itself.',
    ),
  control: absolutePath
    .default('/run/postern-auditd/control.sock')
    .describe('Unix socket on which the daemon answers the commands.'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])
        .default('info')
        .describe('Lowest level of the messages that are written.'),
      format: z
        .enum(['journal', 'json'])
        .optional()
        .describe(
          "journal writes sentences, json writes one JSON object a line; left out: journal where stdout is systemd's journal, else json. The rotated file is always JSON.",
        ),
      file: absolutePath
        .nullable()
        .default(null)
        .describe(
          'A rotated file in addition to stdout (the journal), in a directory of its own; null: no file.',
        ),
    })
    .prefault({})
    .describe("The daemon's own messages."),
  redact: z
    .strictObject({
      keys: z
        .array(text)
        .default([])
        .describe(
          'Further names of secrets, in addition to password, secret, token, private_key and the like.',
        ),
      mode: z
        .enum(['mask', 'hmac'])
        .default('mask')
        .describe('mask writes ***; hmac writes a keyed hash, so that equal secrets stay comparable.'),
    })
    .prefault({})
    .describe(
      'Secrets that are masked in the details of an event before it leaves the table (docs/internals/SOURCE.md, Secrets).',
    ),
  min_free: sizeSchema
    .prefault('1G')
    .describe(
      'Disk space to keep free (or 5 % of a smaller disk): below it, file sinks remove their oldest files, then pause.',
    ),
  sinks: z
    .record(z.string().regex(/^[a-z][a-z0-9_-]*$/), sink)
    .prefault({ audit: { type: 'file' }, auth: { type: 'fail2ban' } })
    .describe('Destinations of the events: any number of sinks, each under a name of its own. {}: no sinks.'),
  fail2ban: fail2ban
    .prefault({})
    .describe(
      'The jail, which postern-auditd setup writes; never_ban and ipv6_prefix also apply to the daemon.',
    ),
  alerts: alerts.prefault({}),
  retention: retention
    .prefault({})
    .describe('Removes old rows from the table, once they are in an archive. Off by default.'),
  api: api.prefault({}),
  fleet: fleet.prefault({}).describe('Several servers (docs/guide/FLEET.md).'),
});

export type Config = z.infer<typeof config>;
export type ConfigInput = z.input<typeof config>;
export type SinkConfig = z.infer<typeof sink>;
export type FileSinkConfig = z.infer<typeof fileSink>;
export type Fail2banSinkConfig = z.infer<typeof fail2banSink>;
export type SourceConfig = Config['source'];
export type RetentionConfig = Config['retention'];
export type Fail2banConfig = Config['fail2ban'];
export type EventsFilter = z.infer<typeof eventsFilter>;
