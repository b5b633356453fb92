import { validate } from 'node-cron';
import { z } from 'zod';
import { type Category, catalog } from '../audit/catalog.js';
import { absolutePath, ageSchema, durationSchema, only, sizeSchema } from './duration-and-size.js';

const SCHEDULE = 'five fields of cron, UTC: minute hour day month weekday, such as "17 3 * * *"';

/** Names, ranges, lists and steps; seconds and the letters L, W and # are refused, as a run may take an hour. */
function isSchedule(text: string): boolean {
  return text.trim().split(/\s+/).length === 5 && !/[LW#?]/.test(text) && validate(text);
}

const categories = [...new Set(catalog.map(({ category }) => category as Category))];

const ages = Object.fromEntries(
  categories.map((category) => [
    category,
    ageSchema
      .optional()
      .describe(`Rows of ${category}; forever keeps them even beyond max_rows and max_size.`),
  ]),
) as Record<Category, z.ZodOptional<typeof ageSchema>>;

const keep = z.strictObject({
  default: ageSchema.prefault('1y').describe('Rows of all other categories.'),
  ...ages,
});

const archive = z.strictObject({
  directory: absolutePath
    .default('/var/lib/postern-auditd/archive')
    .describe('Directory of the archives; nothing else may write to it.'),
  compression: z
    .enum(['gzip', 'zstd'])
    .default('gzip')
    .describe('zstd is smaller and faster, and needs Node.js 22.15 or later.'),
  keep: ageSchema
    .prefault('forever')
    .describe(
      'How long an archive is kept after it was made, or after its newest row where that is later: a duration, or forever.',
    ),
  sign: absolutePath
    .nullable()
    .default(null)
    .describe('Private key (ed25519, PEM) that signs the archives; null: archives are not signed.'),
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
    .describe('Schedule: five fields of cron, in UTC. A missed run is caught up.'),
  keep: keep
    .prefault({ default: '1y', auth: '90d' })
    .describe('How long rows are kept, by category (docs/reference/EVENTS.md lists them).'),
  max_rows: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('Maximum number of rows: beyond it, the oldest are removed before their age; null: no limit.'),
  max_size: sizeSchema
    .refine((bytes) => bytes > 0, only('a size above 0'))
    .nullable()
    .prefault(null)
    .describe(
      'Maximum size of the columns of all rows together: beyond it, the oldest are removed; null: no limit.',
    ),
  max_hold: durationSchema
    .refine((ms) => ms > 0, only('a duration above 0'))
    .nullable()
    .prefault('90d')
    .describe(
      'A required sink without progress for this long no longer holds rows back, and an event reports that; null: it always holds them back.',
    ),
  archive: archive.prefault({}).describe('Archives, to which rows are written before they are removed.'),
});
