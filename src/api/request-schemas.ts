import { z } from 'zod';
import { nearest } from '../audit/did-you-mean.js';
import { durationSchema } from '../config/duration-and-size.js';
import { AuditdError } from '../errors.js';
import { FILTER_KEYS, type Filter, type FilterInput, parseFilter } from '../query/filter.js';
import { MOST_PER_PAGE } from '../query/page.js';
import { SCOPES } from './access/tokens.js';

/** Formats of an answer. */
const FORMATS = ['json', 'ndjson', 'csv'] as const;
export type AnswerFormat = (typeof FORMATS)[number];

const text = z.string();

/** All are optional. Their values are checked with all other filters, in query/filter.ts. */
const filterParameters = {
  resource_type: text
    .optional()
    .describe('Resource type: `proxy_host` in any spelling, or another word exactly as in the row.'),
  action: text
    .optional()
    .describe('Action: a canonical name (`auth.login_failure`), or the word in the row (`update`).'),
  user: text.optional().describe('User: the exact ID, name or email address.'),
  from: text
    .optional()
    .describe(
      'Start of the time range, inclusive: `2026-11-22`, `2026-11-22T20:21:00Z`, or a time before now such as `-7d`. UTC.',
    ),
  to: text.optional().describe('End of the time range, exclusive, in the same forms.'),
  server: text.optional().describe('Server, if several share a table.'),
  ip: text.optional().describe('Client address, or a network such as `203.0.113.0/24`.'),
  outcome: z.enum(['success', 'failure', 'unknown']).optional().describe('Outcome of the action.'),
  source: z
    .enum(['postern', 'auditd'])
    .optional()
    .describe('Entries of Postern, or of postern-auditd itself. Default: both.'),
  q: text.optional().describe('Text contained in `details`. Reads every row that the other filters match.'),
  archives: z
    .enum(['true', 'false'])
    .optional()
    .describe('Whether archived entries are included. `false` reads only the table. Default: `true`.'),
  allow_missing: z
    .enum(['true', 'false'])
    .optional()
    .describe(
      'Whether to answer without archives that are missing, which are an error otherwise. The answer then has the member `incomplete`.',
    ),
} satisfies Record<(typeof FILTER_KEYS)[number], z.ZodType>;

const whole = (least: number, most: number, standard: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, `a whole number from ${least} to ${most}`)
    .transform(Number)
    .pipe(
      z
        .number()
        .min(least, `a whole number from ${least} to ${most}`)
        .max(most, `a whole number from ${least} to ${most}`),
    )
    .prefault(String(standard))
    .meta({ type: 'integer', minimum: least, maximum: most, default: standard });

const format = z
  .enum(FORMATS)
  .optional()
  .describe(
    'Format of the answer. Overrides the header Accept (application/json, application/x-ndjson, text/csv).',
  );

/** `GET /api/audit-log` */
export const listParameters = z.strictObject({
  page: whole(1, 1_000_000_000, 1).describe('Page number. Page 1 has the newest entries.'),
  limit: whole(0, MOST_PER_PAGE, 50).describe('Entries per page. 0 streams all matching entries.'),
  cursor: text.optional().describe('Cursor from `next` of the page before. Excludes `page`.'),
  ...filterParameters,
  format,
});

/** `GET /api/audit-log/stats` */
export const statsParameters = z.strictObject({
  top: whole(1, 100, 10).describe('Length of each list.'),
  ...filterParameters,
});

/** `GET /api/audit-log/stream` */
export const streamParameters = z.strictObject(filterParameters);

/** For paths that take no parameters. */
export const noParameters = z.strictObject({});

/** `POST /api/tokens` */
export const newToken = z.strictObject({
  name: text.describe('Name: letters, digits, spaces and . _ - @.'),
  scope: z.enum(SCOPES).default('read').describe('`read`, or `admin`, which can also make changes.'),
  expires: durationSchema.nullable().default(null).describe('Lifetime, such as `90d`; null: never expires.'),
});

type Given = Readonly<Record<string, readonly string[]>>;

/**
 * Parses the parameters of a request. Unknown parameters are rejected: a misspelt filter would otherwise match everything.
 *
 * @throws AuditdError `USAGE` that names the parameter
 */
export function parametersOf<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  given: Given,
): z.infer<z.ZodObject<Shape>> {
  const known = Object.keys(schema.shape);
  for (const [name, values] of Object.entries(given)) {
    if (!known.includes(name)) throw unknown(name, known);
    if (values.length > 1) {
      throw new AuditdError('USAGE', `${name}: found ${values.length} times`, { next: 'Give it once' });
    }
  }
  const flat = Object.fromEntries(
    Object.entries(given).flatMap(([name, [value]]) => (value ? [[name, value]] : [])),
  );
  const parsed = schema.safeParse(flat);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = String(issue?.path[0] ?? '');
  const allowed = issue?.code === 'invalid_value' ? `one of ${issue.values.join(', ')}` : issue?.message;
  throw new AuditdError('USAGE', `${name}: found ${shown(flat[name] ?? '')}`, { next: `Give ${allowed}` });
}

/** @throws AuditdError `USAGE` that names the parameter */
export function filterFromQuery(parameters: FilterInput, now: number): Filter {
  return parseFilter(Object.fromEntries(FILTER_KEYS.map((key) => [key, parameters[key]])), now);
}

function unknown(name: string, known: readonly string[]): AuditdError {
  const near = nearest(name, known);
  const list = known.length === 0 ? 'This path takes no parameters' : `Known parameters: ${known.join(', ')}`;
  const hint = near === null ? '' : `Did you mean ${near}? `;
  const found = /^[a-z_]{1,20}$/.test(name)
    ? `${name}: unknown parameter`
    : `Unknown parameter ${shown(name)}`;
  return new AuditdError('USAGE', found, { next: `${hint}${list}` });
}

function shown(value: string): string {
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}
