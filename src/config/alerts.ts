import { z } from 'zod';
import { durationBetween } from './duration-and-size.js';

const enabled = z.boolean().default(true).describe('Whether this alert is raised.');

const loginAfterFailures = z.strictObject({
  enabled,
  max_retry: z
    .int()
    .min(1)
    .max(1_000)
    .nullable()
    .default(null)
    .describe(
      'How many failed logins from the address, or for the user, make a later login an alert; null: as many as fail2ban.max_retry.',
    ),
  find_time: durationBetween('1s', '1d')
    .nullable()
    .prefault(null)
    .describe('Period before the login in which they are counted; null: as long as fail2ban.find_time.'),
});

const newNetwork = z.strictObject({
  enabled,
  memory: durationBetween('1d', '2y')
    .prefault('90d')
    .describe('How long a network stays known after the last login of the user from it.'),
});

const changeAfterAlert = z.strictObject({
  enabled,
  within: durationBetween('1m', '1d')
    .prefault('1h')
    .describe('How long after one of the two alerts about a login the changes of its user are watched.'),
  collect: durationBetween('1s', '1d')
    .prefault('1m')
    .describe('How long changes are counted from the first one, before the alert is raised.'),
});

const deletions = z.strictObject({
  enabled,
  count: z.int().min(2).max(1_000).default(10).describe('How many deletions by one user are an alert.'),
  within: durationBetween('1s', '1d').prefault('5m').describe('Period in which they are counted.'),
});

export const alerts = z
  .strictObject({
    login_after_failures: loginAfterFailures
      .prefault({})
      .describe('A login from an address, or of a user, with many failed logins just before it.'),
    new_network: newNetwork
      .prefault({})
      .describe('A login of a user from a network (/24, or /48 of IPv6) that is not known for that user.'),
    change_after_alert: changeAfterAlert
      .prefault({})
      .describe('What a user changed after one of the two alerts about a login.'),
    deletions: deletions.prefault({}).describe('Many deletions by one user.'),
    max_per_user: z
      .int()
      .min(1)
      .max(1_000)
      .default(10)
      .describe(
        'Most alerts of one kind about one user in an hour. More are counted, and one alert tells of them when the hour is over.',
      ),
    never: z
      .array(z.string())
      .default([])
      .describe(
        'Addresses and networks from which logins and failed logins raise no alert and are not counted for one.',
      ),
  })
  .describe('Events that the daemon derives from others as they happen (docs/guide/ALERTS.md).');
