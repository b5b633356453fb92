import { validate } from 'node-cron';
import { z } from 'zod';
import { type Category, catalog } from '../audit/catalog.js';
import { absolutePath, ageSchema, durationSchema, only, sizeSchema } from './duration-and-size.js';

const SCHEDULE = 'five fields of cron, UTC: minute hour day month weekday, such as "17 3 * * *"';

/** Names, ranges, lists and steps; seconds and the letters L, W and # are not for a run that may take an hour. */
function isSchedule(text: string): boolean {
  return text.trim().split(/\s+/).length === 5 && !/[LW#?]/.test(text) && validate(text);
}

const categories = [...new Set(catalog.map(({ category }) => category as Category))];

const ages = Object.fromEntries(
  categories.map((category) => [
    category,
    ageSchema.optional().describe(`Rows of ${category}; forever: whatever max_rows and max_size say.`),
  ]),
) as Record<Category, z.ZodOptional<typeof ageSchema>>;

const keep = z.strictObject({
  default: ageSchema.prefault('1y').describe('Rows of the categories that are not named here.'),
  ...ages,
});

const archive = z.strictObject({
  directory: absolutePath
    .default('/var/lib/postern-auditd/archive')
    .describe('Where archives go; a directory that nothing else writes to.'),
  compression: z
    .enum(['gzip', 'zstd'])
    .default('gzip')
    .describe('zstd is smaller and faster, and takes Node.js 22.15 or later.'),
  keep: ageSchema
    .prefault('forever')
    .describe(
      'How long an archive is kept after it was made, or after its newest row where that is later: a duration, or forever.',
    ),
  sign: absolutePath
    .nullable()
    .default(null)
    .describe('Private key (ed25519, PEM) that archives are signed with; null for none.'),
});

export const retention = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe('Whether rows are archived and then removed from the table. Off: they are kept indefinitely.'),
  schedule: z
    .string({ error: SCHEDULE })
    .refine(isSchedule, only(SCHEDULE))
    .default('17 3 * * *')
    .describe('When it runs: five fields of cron, in UTC. A run that was missed is made up for.'),
  keep: keep
    .prefault({ default: '1y', auth: '90d' })
    .describe('How long rows are kept, by category (docs/reference/EVENTS.md lists them).'),
  max_rows: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('No more rows than these: the oldest go before their age; null for any number.'),
  max_size: sizeSchema
    .refine((bytes) => bytes > 0, only('a size above 0'))
    .nullable()
    .prefault(null)
    .describe('No more than this in the columns of all rows together: the oldest go; null for any size.'),
  max_hold: durationSchema
    .refine((ms) => ms > 0, only('a duration above 0'))
    .nullable()
    .prefault('90d')
    .describe(
      'A required sink that has got nowhere for so long no longer holds rows back, with an event; null: it always does.',
    ),
  archive: archive.prefault({}).describe('What rows are written to before they are removed.'),
});
