import { type KeyObject, sign, verify } from 'node:crypto';
import { z } from 'zod';
import { keyName } from '../retention/archive/manifest.js';
import { VERSION } from '../version.js';
import type { ExportContents, FileFormat, IdsOf } from './export-contents.js';
import { EVERYTHING, type Filter } from './filter.js';

// What stands beside a file of entries: what it has, what was asked for, and who signed that. The signature is a file of its own, over
// the bytes of this one, so that openssl can check it where this program is not installed.

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
  /** When its entries were begun to be read, ms since the epoch. */
  readonly at: number;
  readonly filter: Filter;
  readonly contents: ExportContents;
}

/** The files that stand beside an export, by what is added to its name: the manifest and, with a key, its signature. */
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
    ids: idsAsTold(contents, meaning.listed),
    gaps_mean: meaning.text,
    signed_with: key === null ? null : keyName(key),
  };
  const bytes = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
  return { [MANIFEST]: bytes, [SIGNATURE]: key === null ? null : sign(null, bytes, key) };
}

/** Null if it is none. */
export function parseManifest(bytes: Buffer): ExportManifest | null {
  try {
    return manifestSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch {
    return null;
  }
}

/** What of the file is not as the manifest says, for people; null: nothing. */
export function difference(manifest: ExportManifest, found: ExportContents): string | null {
  if (found.bytes !== manifest.bytes)
    return `it has ${found.bytes} bytes, and had ${manifest.bytes} when it was made`;
  if (found.sha256 !== manifest.sha256)
    return `its bytes were changed: their SHA-256 is ${found.sha256}, and was ${manifest.sha256} when it was made`;
  if (found.entries !== manifest.entries)
    return `it has ${found.entries} entries, its manifest says ${manifest.entries}: the manifest was changed`;
  if (found.incomplete === manifest.incomplete && sameIds(manifest, found)) return null;
  return 'its ids are others than its manifest says: the manifest was changed';
}

/** A later release may say more of them. */
function sameIds({ ids: said }: ExportManifest, { ids: found }: ExportContents): boolean {
  return (['postern', 'auditd'] as const).every((source) => {
    const [one, other] = [said[source], found[source]];
    if (one === undefined || other === undefined) return one === other;
    const known = told(other, one.gaps !== null);
    return Object.entries(known).every(
      ([key, value]) => JSON.stringify(value) === JSON.stringify(one[key as keyof typeof one]),
    );
  });
}

/** What is wrong with the signature, for people; null: it is right. */
export function wrongSignature(
  { bytes, signature, signedWith }: { bytes: Buffer; signature: Buffer | null; signedWith: string | null },
  key: KeyObject,
): string | null {
  const given = keyName(key);
  if (signedWith === null) return 'it is not signed';
  if (signedWith !== given)
    return `it says that it is signed with the key ${signedWith}, and not with ${given}, which was given`;
  if (signature === null) return 'its signature is missing';
  return verify(null, bytes, key, signature)
    ? null
    : 'its signature is wrong: the manifest or the signature was changed';
}

function filterAsText(filter: Filter): Record<string, string | boolean> {
  const said = Object.entries(filter).flatMap(([key, value]: [string, string | number | boolean | null]) => {
    if (value === null) return [];
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return [[name, typeof value === 'number' ? new Date(value).toISOString() : value] as const];
  });
  return Object.fromEntries(said);
}

/** Parts of a filter that leave no row out from the middle of a source, whatever they are set to. */
const HARMLESS: ReadonlySet<string> = new Set(['source', 'archives', 'allowMissing']);

/** Whether an id that is not in the file is missing, and what that means. */
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
      text: `not listed: the filter (${other.join(', ')}) leaves rows out, and an id that is not in the file may be one of them`,
    };
  const readable = incomplete
    ? 'an archive that was there: the last line of the file says which were not'
    : 'an archive';
  const where = filter.archives
    ? `neither in the table nor in ${readable}`
    : 'not in the table: archives were not read';
  const text = `ids between the first and the last that were ${where}`;
  return given.length === 0
    ? { listed: true, text }
    : { listed: true, text: `${text}; a row whose time is outside of the filter counts as a gap, too` };
}

function idsAsTold(contents: ExportContents, listed: boolean): ExportManifest['ids'] {
  const { postern, auditd } = contents.ids;
  return {
    ...(postern === undefined ? {} : { postern: told(postern, listed) }),
    ...(auditd === undefined ? {} : { auditd: told(auditd, listed) }),
  };
}

function told(
  { entries, first, last, repeated, missing, gaps }: IdsOf,
  listed: boolean,
): z.infer<typeof ids> {
  if (!listed) return { entries, first, last, repeated, missing: null, gaps: null };
  return { entries, first, last, repeated, missing, gaps: gaps.map(([from, to]) => [from, to]) };
}
