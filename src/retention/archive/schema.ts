import { z } from 'zod';
import { isRowsName } from './archive-files.js';

// The valid content of a manifest. Its hash only proves that it is unchanged, and a forger can compute a hash, too.

/** The longest possible block: a block ends with the row that brings it above 256 KiB, and V8 limits the length of a line. */
const LONGEST_BLOCK = 0x1fff_ffff;
/** What compression may add to incompressible data. */
const OVERHEAD = 64 * 1024;
/** SQLite's own limit. */
const MOST_COLUMNS = 32_767;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const size = z.int().positive();
const moment = z
  .string()
  .max(40)
  .refine((text) => !Number.isNaN(Date.parse(text)));

const count = z.int().min(0);
const ranges = z.array(z.tuple([z.int(), z.int()]).refine(([first, last]) => first <= last)).max(1_000);

const signature = z.looseObject({
  algorithm: z.literal('ed25519'),
  key: z.string().max(64),
  value: z.string().max(128),
});

const block = z
  .tuple([size, size, size, z.int(), z.int(), z.number().nullable(), z.number().nullable()])
  .refine(
    ([bytes, content, , first, last]) =>
      content <= LONGEST_BLOCK && bytes <= 2 * content + OVERHEAD && first <= last,
  );

const sealed = { schema_version: z.literal(1), signature: signature.nullable(), sha256 };

/** A later release may add keys. */
export const manifestSchema = z
  .looseObject({
    ...sealed,
    schema_version: z.literal([1, 2]),
    sequence: z.int().min(1).max(999_999_999_999),
    file: z.string().refine(isRowsName),
    compression: z.enum(['gzip', 'zstd', 'none']),
    source: z.enum(['postern', 'auditd']),
    source_id: z.string(),
    timeline: z.int().positive(),
    table: z.string(),
    columns: z
      .array(z.looseObject({ name: z.string(), type: z.string() }))
      .min(1)
      .max(MOST_COLUMNS),
    id_column: z.string(),
    month: z.string().regex(/^(?:\d{4,6}-\d\d|undated)$/),
    run: z.string(),
    ids: z.looseObject({ first: z.int(), last: z.int() }),
    count: size,
    time: z.looseObject({ first: moment, last: moment }).nullable(),
    bytes: size,
    content_bytes: size,
    file_sha256: sha256,
    content_sha256: sha256,
    blocks: z.array(block).min(1),
    previous_sha256: sha256.nullable(),
    created: moment,
    time_zone: z.string().max(100).optional(),
    since_delivery: z
      .looseObject({
        compared: count,
        differ: count,
        missing: count,
        differ_ids: ranges,
        missing_ids: ranges,
      })
      .optional(),
    holds_sha256: sha256.optional(),
  })
  .refine(({ schema_version: version, holds_sha256: holds }) => (version === 1) === (holds === undefined))
  .refine(({ blocks, bytes, content_bytes: content, count, ids }) => {
    const sum = (at: 0 | 1 | 2) => blocks.reduce((all, one) => all + one[at], 0);
    const inOrder = blocks.every((one, at) => at === 0 || one[3] > (blocks[at - 1]?.[4] ?? one[3]));
    const [begin, end] = [blocks[0]?.[3], blocks.at(-1)?.[4]];
    const isSum = sum(0) === bytes && sum(1) === content && sum(2) === count;
    return isSum && inOrder && begin === ids.first && end === ids.last;
  });

export const anchorSchema = z.looseObject({
  ...sealed,
  sequence: z.int().min(1).max(999_999_999_999),
  previous_sha256: sha256,
  created: moment,
});

/** Maximum length of a text given with a hold. */
const LONGEST_TEXT = 1_000;
const text = z.string().min(1).max(LONGEST_TEXT);

/** Unknown keys are rejected: ignoring a later release's filter would delete held rows. */
export const holdFilterSchema = z
  .strictObject({
    user: text.optional(),
    from: moment.optional(),
    to: moment.optional(),
    resource_type: text.optional(),
    resource_id: text.optional(),
  })
  .refine(({ resource_type: type, resource_id: id }) => id === undefined || type !== undefined);

const record = {
  ...sealed,
  schema_version: z.literal(2),
  number: z.int().min(1).max(99_999_999_999),
  reason: text,
  by: z.string().max(LONGEST_TEXT).nullable(),
  created: moment,
  previous_sha256: sha256.nullable(),
};

export const holdRecordSchema = z.discriminatedUnion('kind', [
  z.looseObject({ ...record, kind: z.literal('legal_hold'), filter: holdFilterSchema }),
  z.looseObject({ ...record, kind: z.literal('legal_release'), releases: z.int().min(1) }),
]);
