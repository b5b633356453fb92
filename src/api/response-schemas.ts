import { z } from 'zod';

// The shapes of answers, for the description of the API; that what is sent has them is held by a test.

const textOrNull = z.string().nullable();

const one = z.strictObject({
  id: z.string().describe('`<source>:<row id>`, `postern:4711`.'),
  created_at: textOrNull.describe('ISO 8601, UTC; what stood in the row where that is no time.'),
  user: z.strictObject({ id: textOrNull, name: textOrNull, email: textOrNull }).describe('Who did it.'),
  action: z.string().describe('Canonical name, `proxy_host.update`.'),
  resource_type: textOrNull,
  resource_id: textOrNull,
  details: z.record(z.string(), z.unknown()).nullable().describe('The change; secrets are masked.'),
  ip_address: textOrNull.describe('Address of the client.'),
  server: z.string(),
  outcome: z.enum(['success', 'failure', 'unknown']),
});

export const entry = one
  .extend({
    versions: z
      .array(one)
      .optional()
      .describe('Of a row that was edited: its versions in the order in which they were seen.'),
  })
  .meta({ id: 'Entry' });

export const page = z
  .strictObject({
    entries: z.array(entry),
    page: z.int().nullable().describe('Null where a cursor was given.'),
    limit: z.int(),
    total: z
      .int()
      .nullable()
      .describe('How many entries the filter means, counted up to 10,000; null with a cursor.'),
    total_exact: z.boolean().describe('False: there are more than `total`.'),
    next: textOrNull.describe('Cursor of the next page; null on the last one.'),
    incomplete: z
      .string()
      .optional()
      .describe('What is left out because archives are missing; there only with `allow_missing=true`.'),
    note: z
      .string()
      .optional()
      .describe(
        'Of an empty answer: names in the filter that the catalog of events does not have, and the nearest that it has.',
      ),
  })
  .meta({ id: 'Page' });

const counts = z.array(z.strictObject({ name: z.string(), count: z.int() }));

export const statsSchema = z
  .strictObject({
    total: z.int(),
    failures: z.int(),
    actions: counts,
    users: counts,
    addresses: counts,
    offenders: counts.describe('Addresses that failed logins came from.'),
    failed_logins: z.int(),
    servers: counts,
    days: counts.describe('A day each without a gap, `2026-11-22` in UTC.'),
    hours: z
      .array(z.strictObject({ name: z.string(), count: z.int(), failed_logins: z.int() }))
      .describe(
        'Hours in which something happened, `2026-11-22T20:00Z`, UTC; empty where there are more than 1,080.',
      ),
    undated: z.int().describe('Entries whose time can not be read.'),
    incomplete: z
      .string()
      .optional()
      .describe('What is left out because archives are missing; there only with `allow_missing=true`.'),
    note: z
      .string()
      .optional()
      .describe(
        'Of an empty answer: names in the filter that the catalog of events does not have, and the nearest that it has.',
      ),
  })
  .meta({ id: 'Stats' });

export const ban = z
  .strictObject({
    address: z.string().describe('An address, or a network.'),
    since: textOrNull.describe('ISO 8601, UTC; null where fail2ban does not say.'),
    until: textOrNull.describe('Null: for ever.'),
  })
  .meta({ id: 'Ban' });

export const bansSchema = z.strictObject({ bans: z.array(ban) }).meta({ id: 'Bans' });
export const unbanned = z.strictObject({
  unbanned: z.string().describe('As asked for.'),
  lifted: z
    .array(z.string())
    .describe('What fail2ban had banned: the address, or the network that it lies in.'),
});

export const healthSchema = z
  .strictObject({ status: z.enum(['ok', 'failing']), failing: z.array(z.string()) })
  .meta({ id: 'Health' });

export const problemSchema = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('What was found and why it failed.'),
    next: z.string().optional().describe('The next step; left out if there is none.'),
    parameter: z.string().optional().describe('The parameter that is wrong.'),
  })
  .meta({ id: 'Problem' });
