import { z } from 'zod';
import { durationBetween } from './duration-and-size.js';
import { natsFields, natsServers } from './nats.js';

const { stream, credentials, nkey, token, user, password, tls, connect_timeout } = natsFields;

export const fleet = z.strictObject({
  role: z
    .enum(['member', 'hub'])
    .default('member')
    .describe('hub: the table is filled from the stream, with the events of all servers.'),
  bans: z
    .enum(['local', 'subscribe'])
    .default('local')
    .describe('subscribe: fresh failed logins at other servers count on this server too.'),
  never_ban: z
    .array(z.string())
    .default([])
    .describe("Addresses and networks that other servers' failures never ban, besides fail2ban.never_ban."),
  limit: z
    .strictObject({
      addresses: z
        .int()
        .min(1)
        .max(100_000)
        .default(100)
        .describe('How many addresses one other server may report within fail2ban.find_time.'),
      failures: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(2_000)
        .describe('How many failed logins one other server may report within fail2ban.find_time.'),
    })
    .prefault({})
    .describe('Limits on the reports of one other server.'),
  heartbeat: durationBetween('1s', '10m')
    .prefault('10s')
    .describe('Interval between the heartbeats of this server.'),
  silent_after: durationBetween('3s', '7d')
    .prefault('2m')
    .describe('hub: how long a server may be silent before the event daemon.server_silent.'),
  servers: natsServers
    .optional()
    .describe('NATS servers; left out: those of the first sink of type jetstream, with its credentials.'),
  stream,
  credentials,
  nkey,
  token,
  user,
  password,
  tls,
  connect_timeout,
});
