import { z } from 'zod';
import { duration, fileMode, size } from './units.js';

/** Which events a sink takes; a key left out lets everything through. */
const eventsFilter = z.strictObject({
  category: z.array(z.string()).optional(),
  action: z.array(z.string()).optional(),
  outcome: z.array(z.enum(['success', 'failure', 'unknown'])).optional(),
  min_severity: z.enum(['alert', 'critical', 'error', 'warning', 'notice', 'info']).optional(),
  server: z.array(z.string()).optional(),
  source: z.array(z.enum(['postern', 'auditd'])).optional(),
});

const everySink = {
  events: eventsFilter.optional(),
};

export const fileSink = z.strictObject({
  type: z.literal('file'),
  ...everySink,
  required: z.boolean().default(true),
  start: z.enum(['beginning', 'now']).default('beginning'),
  directory: z.string().default('/var/log/posternproxy/audit'),
  roll: z
    .strictObject({
      size: size.default(100 * 2 ** 20),
      every: duration.nullable().default(86_400_000),
      keep: z.int().min(1).max(10_000).default(30),
    })
    .prefault({}),
  mode: fileMode.default(0o640),
  group: z.string().nullable().default('adm'),
});

export const fail2banSink = z.strictObject({
  type: z.literal('fail2ban'),
  ...everySink,
  required: z.boolean().default(true),
  start: z.enum(['beginning', 'now']).default('beginning'),
  directory: z.string().default('/var/log/posternproxy/auth'),
  roll: z.strictObject({ size: size.default(20 * 2 ** 20) }).prefault({}),
  mode: fileMode.default(0o640),
  group: z.string().nullable().default('adm'),
});

export const sink = z.discriminatedUnion('type', [fileSink, fail2banSink]);

const columns = z.strictObject({
  id: z.string().default('id'),
  created_at: z.string().default('created_at'),
  user_id: z.string().default('user_id'),
  user_name: z.string().default('user_name'),
  user_email: z.string().default('user_email'),
  action: z.string().default('action'),
  resource_type: z.string().default('resource_type'),
  resource_id: z.string().default('resource_id'),
  details: z.string().default('details'),
  ip_address: z.string().default('ip_address'),
  server: z.string().default('server'),
});

const source = z.strictObject({
  database: z.string().default('/var/lib/posternproxy/posternproxy.db'),
  table: z.string().default('audit_log'),
  poll_interval: duration.default(1_000),
  columns: columns.prefault({}),
  aliases: z.record(z.string(), z.array(z.string())).default({}),
});

const fail2ban = z.strictObject({
  jail: z.string().default('posternproxy'),
  ports: z.array(z.int().min(1).max(65_535)).min(1).default([80, 81, 443]),
  protocols: z.array(z.enum(['tcp', 'udp'])).min(1).default(['tcp', 'udp']),
  chain: z.string().default('auto'),
  banaction: z.string().default('iptables-multiport'),
  max_retry: z.int().min(1).default(5),
  find_time: duration.default(600_000),
  ban_time: duration.default(3_600_000),
  never_ban: z.array(z.string()).default(['127.0.0.0/8', '::1']),
  ipv6_prefix: z.int().min(32).max(128).default(128),
  bans: z.string().default('/var/log/posternproxy/bans/bans.log'),
});

export const config = z.strictObject({
  server: z.string().min(1).optional(),
  source: source.prefault({}),
  state: z.string().default('/var/lib/postern-auditd'),
  control: z.string().default('/run/postern-auditd/control.sock'),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
      file: z.string().nullable().default(null),
    })
    .prefault({}),
  redact: z
    .strictObject({ keys: z.array(z.string()).default([]), mode: z.enum(['mask', 'hmac']).default('mask') })
    .prefault({}),
  min_free: size.default(2 ** 30),
  sinks: z
    .record(z.string().regex(/^[a-z][a-z0-9_-]*$/), sink)
    .prefault({ audit: { type: 'file' }, auth: { type: 'fail2ban' } }),
  fail2ban: fail2ban.prefault({}),
});

export type Config = z.infer<typeof config>;
export type ConfigInput = z.input<typeof config>;
export type SinkConfig = z.infer<typeof sink>;
export type FileSinkConfig = z.infer<typeof fileSink>;
export type Fail2banSinkConfig = z.infer<typeof fail2banSink>;
export type SourceConfig = Config['source'];
export type Fail2banConfig = Config['fail2ban'];
export type EventsFilter = z.infer<typeof eventsFilter>;
