import { z } from 'zod';

// The schemas of answers, for the description of the API; a test compares what is sent with them.

const textOrNull = z.string().nullable();

const one = z.strictObject({
  id: z.string().describe('`<source>:<row id>`, `postern:4711`.'),
  created_at: textOrNull.describe('ISO 8601, UTC; the text in the row if it is not a time.'),
  user: z.strictObject({ id: textOrNull, name: textOrNull, email: textOrNull }).describe('User who did it.'),
  action: z.string().describe('Canonical name, such as `proxy_host.update`.'),
  resource_type: textOrNull,
  resource_id: textOrNull,
  details: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe('Details of the action. Secrets are masked.'),
  ip_address: textOrNull.describe('Client address.'),
  server: z.string(),
  outcome: z.enum(['success', 'failure', 'unknown']),
});

export const entry = one
  .extend({
    versions: z
      .array(one)
      .optional()
      .describe('Versions of a row that was edited, in the order in which they were read.'),
  })
  .meta({ id: 'Entry' });

export const page = z
  .strictObject({
    entries: z.array(entry),
    page: z.int().nullable().describe('Page number; null if a cursor was given.'),
    limit: z.int(),
    total: z
      .int()
      .nullable()
      .describe('Number of matching entries, counted up to 10,000; null if a cursor was given.'),
    total_exact: z.boolean().describe('False if more than `total` entries match.'),
    next: textOrNull.describe('Cursor of the next page; null on the last page.'),
    incomplete: z
      .string()
      .optional()
      .describe('The entries left out because archives are missing; only with `allow_missing=true`.'),
    note: z
      .string()
      .optional()
      .describe(
        'In an empty answer: names in the filter that are not in the event catalog, and the nearest names that are.',
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
    offenders: counts.describe('Addresses with failed logins.'),
    failed_logins: z.int(),
    servers: counts,
    days: counts.describe('Counts per day without gaps, `2026-11-22`, UTC.'),
    hours: z
      .array(z.strictObject({ name: z.string(), count: z.int(), failed_logins: z.int() }))
      .describe(
        'Counts per hour that has entries, `2026-11-22T20:00Z`, UTC; empty if there are more than 1,080.',
      ),
    undated: z.int().describe('Entries with an unreadable time.'),
    incomplete: z
      .string()
      .optional()
      .describe('The entries left out because archives are missing; only with `allow_missing=true`.'),
    note: z
      .string()
      .optional()
      .describe(
        'In an empty answer: names in the filter that are not in the event catalog, and the nearest names that are.',
      ),
  })
  .meta({ id: 'Stats' });

export const ban = z
  .strictObject({
    address: z.string().describe('An address or a network.'),
    since: textOrNull.describe('ISO 8601, UTC; null if fail2ban does not report it.'),
    until: textOrNull.describe('ISO 8601, UTC; null for a permanent ban.'),
  })
  .meta({ id: 'Ban' });

export const bansSchema = z.strictObject({ bans: z.array(ban) }).meta({ id: 'Bans' });
export const unbanned = z.strictObject({
  unbanned: z.string().describe('The address or network as requested.'),
  lifted: z
    .array(z.string())
    .describe('The bans that were lifted: the address, or the network that contains it.'),
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
    parameter: z.string().optional().describe('The invalid parameter.'),
  })
  .meta({ id: 'Problem' });
