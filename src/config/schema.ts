import { z } from 'zod';
import { isTimeZone } from '../audit/time-zone.js';
import { api } from './api.js';
import {
  absolutePath,
  durationBetween,
  durationSchema,
  fileMode,
  only,
  sizeSchema,
} from './duration-and-size.js';
import { type eventsFilter, everySink } from './event-filter-schema.js';
import { fleet } from './fleet.js';
import { jetstreamSink } from './jetstream.js';
import { retention } from './retention.js';
import { syslogSink } from './syslog.js';

const text = z.string().min(1);

/** What both kinds of local files have. */
const localFiles = {
  ...everySink,
  required: z
    .boolean()
    .default(true)
    .describe('Retention never removes a row that a required sink has not delivered.'),
  start: z
    .enum(['beginning', 'now'])
    .default('beginning')
    .describe(
      "Where the sink's very first start begins: with the oldest row, or with what comes from now on.",
    ),
};

const mode = fileMode
  .prefault('0640')
  .describe('Mode of the files, in octal and in quotes; the directory gets the mode that goes with it.');

const group = text
  .nullable()
  .default('adm')
  .describe("Group of files and directory; null leaves the daemon's own.");

export const fileSink = z
  .strictObject({
    type: z.literal('file'),
    directory: absolutePath
      .default('/var/log/posternproxy/audit')
      .describe('Where the files go; a directory that nothing else writes to.'),
    roll: z
      .strictObject({
        size: sizeSchema
          .refine((bytes) => bytes > 0, only('a size above 0'))
          .prefault('100M')
          .describe('A new file is begun when this one has got so large.'),
        every: durationBetween('1m', '10y')
          .nullable()
          .prefault('1d')
          .describe('A new file is begun when this one has got so old; null: by size alone.'),
        keep: z.int().min(1).max(10_000).default(30).describe('How many files are kept, the newest.'),
      })
      .prefault({})
      .describe('When a new file is begun, and how many are kept.'),
    max_line_size: sizeSchema
      .refine((bytes) => bytes >= 4_096, only('a size of 4K or more'))
      .prefault('256K')
      .describe(
        'Longest line: readers of log files stop at longer ones or cut them. Of an event that makes one the details are shortened, and it says so; the table has all.',
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
      .describe("Where the pair of files goes that the jail's logpath names."),
    roll: z
      .strictObject({
        size: sizeSchema
          .refine((bytes) => bytes > 0, only('a size above 0'))
          .prefault('20M')
          .describe(
            'The other file of the pair is begun when this one has got so large; never twice within a minute.',
          ),
      })
      .prefault({})
      .describe('When the other file of the pair is begun.'),
    mode,
    group,
    ...everySink,
    required: z
      .boolean()
      .optional()
      .describe('Without effect, accepted as up to 0.1.0: it holds no row back from retention.'),
    start: z
      .enum(['beginning', 'now'])
      .optional()
      .describe('Without effect, accepted as up to 0.1.0: it takes what is fresh and nothing else.'),
  })
  .describe('What fail2ban reads: the fresh failed logins at this server. At most one.');

/** Keys of a sink of type fail2ban that are accepted and should go, and why. */
export function needlessKeys(sinks: Config['sinks']): Array<{ readonly key: string; readonly why: string }> {
  return Object.entries(sinks).flatMap(([name, sink]) => {
    if (sink.type !== 'fail2ban') return [];
    const { required, start, events } = sink;
    const nothing = 'has no effect: a sink of type fail2ban takes fresh failures and holds no row back';
    const keeps =
      'keeps failed logins from fail2ban, and nobody is banned for them; fail2ban.never_ban names who is not to be banned';
    return [
      ...(required === undefined ? [] : [{ key: `sinks.${name}.required`, why: nothing }]),
      ...(start === undefined ? [] : [{ key: `sinks.${name}.start`, why: nothing }]),
      ...(events === undefined ? [] : [{ key: `sinks.${name}.events`, why: keeps }]),
    ];
  });
}

/** A new kind of sink docks here: its schema in a file of its own, one word in this list. */
const sink = z.discriminatedUnion('type', [fileSink, fail2banSink, syslogSink, jetstreamSink]);

/** Null says that a column that was read before is gone for good. */
const optional = (name: string, what: string) => text.nullable().default(name).describe(what);

const columns = z.strictObject({
  id: text.default('id').describe('Its INTEGER PRIMARY KEY. Required.'),
  created_at: text
    .default('created_at')
    .describe('Text, ISO 8601, as Go writes it, or the epoch in seconds to nanoseconds. Required.'),
  user_id: optional('user_id', 'Who did it, by number.'),
  user_name: optional('user_name', 'Who did it, by name.'),
  user_email: optional('user_email', 'Who did it, by e-mail address.'),
  action: text.default('action').describe('What was done. Required.'),
  resource_type: optional('resource_type', 'What kind of thing it was done to.'),
  resource_id: optional('resource_id', 'Which one.'),
  details: optional('details', 'The change, as JSON text.'),
  ip_address: optional('ip_address', 'Address of the client.'),
  server: optional('server', 'Name of the server, where several share a table.'),
});

const TIME_ZONE = 'the name of a time zone, such as UTC, Europe/Berlin or Asia/Kolkata';

const source = z.strictObject({
  database: absolutePath
    .default('/var/lib/posternproxy/posternproxy.db')
    .describe("Postern's SQLite database. It is only ever read."),
  table: text.default('audit_log').describe('Its audit table, or a view of the same shape.'),
  poll_interval: durationBetween('10ms', '1h')
    .prefault('1s')
    .describe('How often to look, besides whenever the database changes.'),
  columns: columns
    .prefault({})
    .describe(
      'Names of the columns, where they differ. All but id, created_at and action may be missing; null for one that was removed after rows were read with it.',
    ),
  time_zone: z
    .string()
    .refine(isTimeZone, only(TIME_ZONE))
    .default('UTC')
    .describe(
      'Zone of times that are written without one: UTC, or Europe/Berlin if Postern writes local times. docs/internals/SOURCE.md, Times.',
    ),
  trusted_proxies: z
    .array(z.string())
    .default([])
    .describe(
      'Proxies whose lists of addresses (203.0.113.7, 172.18.0.1) are believed: the last address that is none of them is the client. Without it a list is no address.',
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
      'Whether bans are wanted: false where install.sh was told --no-fail2ban, and check does not look for them.',
    ),
  jail: text.default('posternproxy').describe('Name of the jail.'),
  ports: z
    .array(z.int().min(1).max(65_535))
    .min(1)
    .default([80, 81, 443])
    .describe('Ports that a banned address may no longer reach: those Postern listens on.'),
  protocols: z
    .array(z.enum(['tcp', 'udp']))
    .min(1)
    .default(['tcp', 'udp'])
    .describe('HTTP/3 comes by UDP.'),
  chain: text
    .default('auto')
    .describe(
      'iptables chain: INPUT, DOCKER-USER for published container ports; auto takes what the host has.',
    ),
  banaction: text.default('iptables-multiport').describe("fail2ban's action that bans."),
  max_retry: z.int().min(1).default(5).describe('So many failed logins from one address lead to a ban.'),
  find_time: durationSchema
    .refine((ms) => ms > 0, only('a duration above 0'))
    .prefault('10m')
    .describe('Failed logins are counted over this time.'),
  ban_time: durationSchema
    .refine((ms) => ms > 0, only('a duration above 0'))
    .prefault('1h')
    .describe('How long a ban lasts.'),
  never_ban: z
    .array(z.string())
    .default(['127.0.0.0/8', '::1'])
    .describe(
      'Addresses and networks that are never banned: kept from fail2ban. What ignoreip in its [DEFAULT] names is not banned either.',
    ),
  ipv6_prefix: z
    .int()
    .min(32)
    .max(128)
    .default(64)
    .describe(
      'Ban this network of an IPv6 attacker; 64 is what one host usually has, 128 bans the address alone. Actions with ipset ban the address alone.',
    ),
  bans: absolutePath
    .default('/var/log/posternproxy/bans/bans.log')
    .describe('Where fail2ban tells what it has banned.'),
});

/** Keys without which the daemon would not be what it is come first; see DESIGN.md section 10 for the names. */
export const config = z.strictObject({
  server: z
    .string()
    .min(1)
    .optional()
    .describe("Name of this server in events whose row names none. Left out: the host's name."),
  source: source.prefault({}).describe('Where events come from.'),
  state: absolutePath
    .default('/var/lib/postern-auditd')
    .describe('Directory of state.db: how far each sink has got, and the events of the daemon itself.'),
  control: absolutePath
    .default('/run/postern-auditd/control.sock')
    .describe('Unix socket on which the daemon answers the other commands.'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])
        .default('info')
        .describe('The least important messages that are written.'),
      format: z
        .enum(['journal', 'json'])
        .optional()
        .describe(
          "journal writes sentences, json a line of JSON each; left out: journal where systemd's journal takes them, else json. The rolled file is always JSON.",
        ),
      file: absolutePath
        .nullable()
        .default(null)
        .describe('A rolled file besides stdout (the journal), in a directory of its own; null for none.'),
    })
    .prefault({})
    .describe("The daemon's own messages."),
  redact: z
    .strictObject({
      keys: z
        .array(text)
        .default([])
        .describe('Further names of secrets, besides password, secret, token, private_key and the like.'),
      mode: z
        .enum(['mask', 'hmac'])
        .default('mask')
        .describe('mask writes ***; hmac a keyed hash, so that equal secrets stay comparable.'),
    })
    .prefault({})
    .describe(
      'What is hidden in the details of an event before it leaves the table: docs/internals/SOURCE.md, Secrets.',
    ),
  min_free: sizeSchema
    .prefault('1G')
    .describe(
      'Disk space that stays free (or 5 % of a smaller disk): below it file sinks remove their oldest files, then pause.',
    ),
  sinks: z
    .record(z.string().regex(/^[a-z][a-z0-9_-]*$/), sink)
    .prefault({ audit: { type: 'file' }, auth: { type: 'fail2ban' } })
    .describe('Where events go: any number, each under a name of its own. {} for none.'),
  fail2ban: fail2ban
    .prefault({})
    .describe(
      'The jail, which install.sh --reconfigure writes; never_ban and ipv6_prefix hold for the daemon too.',
    ),
  retention: retention
    .prefault({})
    .describe('Removes old rows from the table, once they are in an archive. Off by default.'),
  api: api.prefault({}),
  fleet: fleet.prefault({}).describe('More than one server: docs/guide/FLEET.md.'),
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
