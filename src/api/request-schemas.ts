import { z } from 'zod';
import { nearest } from '../audit/did-you-mean.js';
import { durationSchema } from '../config/duration-and-size.js';
import { AuditdError } from '../errors.js';
import { FILTER_KEYS, type Filter, type FilterInput, parseFilter } from '../query/filter.js';
import { MOST_PER_PAGE } from '../query/page.js';
import { SCOPES } from './access/tokens.js';

/** How an answer is written. */
const FORMATS = ['json', 'ndjson', 'csv'] as const;
export type AnswerFormat = (typeof FORMATS)[number];

const text = z.string();

/** Each is left out for everything. What is allowed in them is checked where all filters are (query/filter.ts). */
const filterParameters = {
  resource_type: text
    .optional()
    .describe(
      'What kind of thing it was done to: `proxy_host`, however the row spells it, or any word exactly as the row has it.',
    ),
  action: text
    .optional()
    .describe(
      'What was done, by canonical name (`auth.login_failure`) or by the word of the row (`update`).',
    ),
  user: text.optional().describe('Who did it: id, name or e-mail address, exactly.'),
  from: text
    .optional()
    .describe('From then on: `2026-11-22`, `2026-11-22T20:21:00Z` or a span before now, `-7d`. UTC.'),
  to: text.optional().describe('Before then, in the same forms; this moment itself no longer counts.'),
  server: text.optional().describe('Of this server, where several share a table.'),
  ip: text.optional().describe('Address of the client, or a network: `203.0.113.0/24`.'),
  outcome: z.enum(['success', 'failure', 'unknown']).optional().describe('How it went.'),
  source: z
    .enum(['postern', 'auditd'])
    .optional()
    .describe("Postern's own entries, or those of postern-auditd itself; both, if left out."),
  q: text
    .optional()
    .describe('Part of the text of `details`; reads every row that the rest of the filter leaves.'),
  archives: z
    .enum(['true', 'false'])
    .optional()
    .describe(
      'Archived rows count as if they had never left the table, once there are any; `false` looks at the table alone.',
    ),
  allow_missing: z
    .enum(['true', 'false'])
    .optional()
    .describe(
      'Go on without archives that are missing, which is an error otherwise; the answer says `incomplete`.',
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
    'How the answer is written; stands above the header Accept (application/json, application/x-ndjson, text/csv).',
  );

/** `GET /api/audit-log` */
export const listParameters = z.strictObject({
  page: whole(1, 1_000_000_000, 1).describe('Which page, the newest entries on the first.'),
  limit: whole(0, MOST_PER_PAGE, 50).describe('Entries a page. 0 is all there are, as a stream.'),
  cursor: text
    .optional()
    .describe('The page behind another one, by what that one names as `next`; instead of `page`.'),
  ...filterParameters,
  format,
});

/** `GET /api/audit-log/stats` */
export const statsParameters = z.strictObject({
  top: whole(1, 100, 10).describe('How many of each list.'),
  ...filterParameters,
});

/** `GET /api/audit-log/stream` */
export const streamParameters = z.strictObject(filterParameters);

/** What takes none. */
export const noParameters = z.strictObject({});

/** `POST /api/tokens` */
export const newToken = z.strictObject({
  name: text.describe('Letters, digits, spaces and . _ - @.'),
  scope: z.enum(SCOPES).default('read').describe('`admin` may change things, too.'),
  expires: durationSchema
    .nullable()
    .default(null)
    .describe('After how long it is no longer good: `90d`; null for never.'),
});

type Given = Readonly<Record<string, readonly string[]>>;

/**
 * The parameters of a request. Nothing is passed over: a misspelt filter would otherwise be none.
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
