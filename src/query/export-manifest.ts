import { type KeyObject, sign, verify } from 'node:crypto';
import { z } from 'zod';
import { keyName } from '../retention/archive/manifest.js';
import { VERSION } from '../version.js';
import type { ExportContents, FileFormat, IdsOf } from './export-contents.js';
import { EVERYTHING, type Filter } from './filter.js';

// The manifest beside an export file: its contents, the filter, and the signing key. The signature is a file of its own over the bytes of
// the manifest, so that openssl can verify it without this program.

export const MANIFEST = '.manifest.json';
export const SIGNATURE = '.sig';
const KIND = 'postern-auditd export';
const SCHEMA_VERSION = 1;

const whole = z.int().nonnegative();
const ids = z.looseObject({
  entries: z.int().positive(),
  first: z.int(),
  last: z.int(),
  repeated: whole,
  missing: whole.nullable(),
  gaps: z.array(z.tuple([z.int(), z.int()])).nullable(),
});

const manifestSchema = z.looseObject({
  schema_version: z.literal(SCHEMA_VERSION),
  kind: z.literal(KIND),
  file: z.string().min(1).max(4_096),
  format: z.enum(['ndjson', 'csv']),
  created: z.string().max(40),
  program: z.string().max(100),
  server: z.string().max(1_000),
  filter: z.record(z.string().max(100), z.union([z.string(), z.boolean()])),
  entries: whole,
  bytes: whole,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  incomplete: z.boolean(),
  ids: z.looseObject({ postern: ids.optional(), auditd: ids.optional() }),
  gaps_mean: z.string().max(1_000),
  signed_with: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .nullable(),
});

export type ExportManifest = z.infer<typeof manifestSchema>;

export interface Made {
  /** Name of the file, without its directory. */
  readonly file: string;
  readonly format: FileFormat;
  readonly server: string;
  /** When reading its entries began, ms since the epoch. */
  readonly at: number;
  readonly filter: Filter;
  readonly contents: ExportContents;
}

/** The files beside an export, by the suffix of their name: the manifest and, with a key, its signature. */
export function manifestFiles(
  made: Made,
  key: KeyObject | null,
): { [MANIFEST]: Buffer; [SIGNATURE]: Buffer | null } {
  const { contents, filter } = made;
  const meaning = gapsOf(filter, contents);
  const manifest: ExportManifest = {
    schema_version: SCHEMA_VERSION,
    kind: KIND,
    file: made.file,
    format: made.format,
    created: new Date(made.at).toISOString(),
    program: VERSION,
    server: made.server,
    filter: filterAsText(filter),
    entries: contents.entries,
    bytes: contents.bytes,
    sha256: contents.sha256,
    incomplete: contents.incomplete,
    ids: idsOfManifest(contents, meaning.listed),
    gaps_mean: meaning.text,
    signed_with: key === null ? null : keyName(key),
  };
  const bytes = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
  return { [MANIFEST]: bytes, [SIGNATURE]: key === null ? null : sign(null, bytes, key) };
}

/** Null if the text is not a manifest. */
export function parseManifest(bytes: Buffer): ExportManifest | null {
  try {
    return manifestSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch {
    return null;
  }
}

/** How the file differs from its manifest, as text; null if it does not. */
export function difference(manifest: ExportManifest, found: ExportContents): string | null {
  if (found.bytes !== manifest.bytes)
    return `it has ${found.bytes} bytes, but had ${manifest.bytes} when it was created`;
  if (found.sha256 !== manifest.sha256)
    return `its bytes were changed: their SHA-256 is ${found.sha256}, but was ${manifest.sha256} when it was created`;
  if (found.entries !== manifest.entries)
    return `it has ${found.entries} entries, but its manifest has ${manifest.entries}: the manifest was changed`;
  if (found.incomplete === manifest.incomplete && sameIds(manifest, found)) return null;
  return 'its ids differ from its manifest: the manifest was changed';
}

/** Compares only known members, as a later release may add some. */
function sameIds({ ids: inManifest }: ExportManifest, { ids: found }: ExportContents): boolean {
  return (['postern', 'auditd'] as const).every((source) => {
    const [one, other] = [inManifest[source], found[source]];
    if (one === undefined || other === undefined) return one === other;
    const known = idsOf(other, one.gaps !== null);
    return Object.entries(known).every(
      ([key, value]) => JSON.stringify(value) === JSON.stringify(one[key as keyof typeof one]),
    );
  });
}

/** What is wrong with the signature, as text; null if it is valid. */
export function wrongSignature(
  { bytes, signature, signedWith }: { bytes: Buffer; signature: Buffer | null; signedWith: string | null },
  key: KeyObject,
): string | null {
  const given = keyName(key);
  if (signedWith === null) return 'it is not signed';
  if (signedWith !== given) return `it is signed with the key ${signedWith}, but the given key is ${given}`;
  if (signature === null) return 'its signature is missing';
  return verify(null, bytes, key, signature)
    ? null
    : 'its signature is invalid: the manifest or the signature was changed';
}

function filterAsText(filter: Filter): Record<string, string | boolean> {
  const said = Object.entries(filter).flatMap(([key, value]: [string, string | number | boolean | null]) => {
    if (value === null) return [];
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return [[name, typeof value === 'number' ? new Date(value).toISOString() : value] as const];
  });
  return Object.fromEntries(said);
}

/** Parts of a filter that never exclude rows from the middle of a source. */
const HARMLESS: ReadonlySet<string> = new Set(['source', 'archives', 'allowMissing']);

/** Whether gaps in the ids are listed, and their meaning as text. */
function gapsOf(
  filter: Filter,
  { incomplete }: Pick<ExportContents, 'incomplete'>,
): { listed: boolean; text: string } {
  const given = Object.entries(filter)
    .filter(([key, value]) => value !== EVERYTHING[key as keyof Filter] && !HARMLESS.has(key))
    .map(([key]) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  const other = given.filter((key) => key !== 'from' && key !== 'to');
  if (other.length > 0)
    return {
      listed: false,
      text: `not listed: the filter (${other.join(', ')}) leaves rows out, so an id that is not in the file may be one of them`,
    };
  const readable = incomplete
    ? 'an archive that was available: the last line of the file lists those that were not'
    : 'an archive';
  const where = filter.archives
    ? `neither in the table nor in ${readable}`
    : 'not in the table: archives were not read';
  const text = `ids between the first and the last that were ${where}`;
  return given.length === 0
    ? { listed: true, text }
    : { listed: true, text: `${text}; a row whose time is outside the filter counts as a gap, too` };
}

function idsOfManifest(contents: ExportContents, listed: boolean): ExportManifest['ids'] {
  const { postern, auditd } = contents.ids;
  return {
    ...(postern === undefined ? {} : { postern: idsOf(postern, listed) }),
    ...(auditd === undefined ? {} : { auditd: idsOf(auditd, listed) }),
  };
}

function idsOf(
  { entries, first, last, repeated, missing, gaps }: IdsOf,
  listed: boolean,
): z.infer<typeof ids> {
  if (!listed) return { entries, first, last, repeated, missing: null, gaps: null };
  return { entries, first, last, repeated, missing, gaps: gaps.map(([from, to]) => [from, to]) };
}
