import { z } from 'zod';
import { isRowsName } from './archive-files.js';

// What a manifest may say. Its hash only proves that it is as somebody has written it, and a forger can compute that as well.

/** No block of ours is longer: a block ends with the row that brings it above 256 KiB, and a longer line is no string to V8. */
const LONGEST_BLOCK = 0x1fff_ffff;
/** What a compression may add to what it can't make smaller. */
const OVERHEAD = 64 * 1024;
/** SQLite's own bound. */
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

/** A later release may say more. */
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

/** Longest text that somebody gives of a hold. */
const LONGEST_TEXT = 1_000;
const text = z.string().min(1).max(LONGEST_TEXT);

/** What a later release adds to a filter would be passed over here, and rows go that are held: it is refused. */
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
