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
    .describe('subscribe: fresh failed logins at the other servers count here, too.'),
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
        .describe('Addresses that one other server may bring in within fail2ban.find_time.'),
      failures: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(2_000)
        .describe('Failed logins that one other server may bring in within fail2ban.find_time.'),
    })
    .prefault({})
    .describe('What another server can do at most.'),
  heartbeat: durationBetween('1s', '10m')
    .prefault('10s')
    .describe('How often this server says to the fleet that it is there.'),
  silent_after: durationBetween('3s', '7d')
    .prefault('2m')
    .describe('hub: a server that says nothing for so long is an event daemon.server_silent.'),
  servers: natsServers
    .optional()
    .describe('NATS servers; left out: those of the first sink of type jetstream, with how to log in.'),
  stream,
  credentials,
  nkey,
  token,
  user,
  password,
  tls,
  connect_timeout,
});
