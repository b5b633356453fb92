import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { z } from 'zod';
import type { Compression } from './compression.js';
import { anchorSchema, manifestSchema } from './schema.js';

export const SCHEMA_VERSION = 1;
/** Of what stands in a directory with legal holds: a version that knows none must not take it for its own. */
export const HOLDS_VERSION = 2;

export interface ArchivedColumn {
  readonly name: string;
  /** As it was declared; empty if it was not. */
  readonly type: string;
}

/** A piece of the file that is read by itself: bytes, bytes of its content, rows, first and last id, first and last time (ms). */
export type Block = readonly [
  bytes: number,
  content: number,
  rows: number,
  first: number,
  last: number,
  from: number | null,
  to: number | null,
];

export interface Signature {
  readonly algorithm: 'ed25519';
  /** The public key's name: 16 hex digits of the SHA-256 of its DER. */
  readonly key: string;
  /** Base64, over the manifest's text without `signature` and `sha256`. */
  readonly value: string;
}

/** Rows of a table, compared with what is recorded of them since they were delivered. */
export interface SinceDelivery {
  /** Rows of the archive that could be compared. */
  readonly compared: number;
  /** Of them, those that are others than they were, but for edits that the daemon has recorded. */
  readonly differ: number;
  /** Rows that were delivered, are in no archive, and are not in the table any more; those up to the last row of this archive that none before it has. */
  readonly missing: number;
  /** From one id to another, the first 1,000. */
  readonly differ_ids: ReadonlyArray<readonly [first: number, last: number]>;
  readonly missing_ids: ReadonlyArray<readonly [first: number, last: number]>;
}

/** What stands beside an archive, as it is written. */
export interface Manifest {
  readonly schema_version: number;
  /** From 1, one more with each archive of the directory. */
  readonly sequence: number;
  /** Name in the same directory. */
  readonly file: string;
  readonly compression: Compression;
  readonly source: 'postern' | 'auditd';
  readonly source_id: string;
  readonly timeline: number;
  readonly table: string;
  readonly columns: readonly ArchivedColumn[];
  /** The primary key among the columns. */
  readonly id_column: string;
  /** `2026-11`, or `undated`. */
  readonly month: string;
  readonly run: string;
  readonly ids: { readonly first: number; readonly last: number };
  readonly count: number;
  /** ISO 8601, both included; null where no row has a readable time. */
  readonly time: { readonly first: string; readonly last: string } | null;
  /** By which times that are written without a zone were read; left out: UTC. */
  readonly time_zone?: string;
  /** Left out where nothing was compared: by a release that did not. */
  readonly since_delivery?: SinceDelivery;
  readonly bytes: number;
  readonly content_bytes: number;
  readonly file_sha256: string;
  /** Of the lines, uncompressed. */
  readonly content_sha256: string;
  readonly blocks: readonly Block[];
  /** SHA-256 of the file of the manifest before; null in the very first. */
  readonly previous_sha256: string | null;
  readonly created: string;
  /** SHA-256 of the file of the newest record of legal holds (legal-hold-records.ts) when this was made; left out where there was none. */
  readonly holds_sha256?: string;
  readonly signature: Signature | null;
  /** Of this text without this line. */
  readonly sha256: string;
}

/**
 * What stands in the place of archives that were removed because of their age: the chain begins behind it.
 */
export interface Anchor {
  readonly schema_version: number;
  /** Of the newest archive that was removed. */
  readonly sequence: number;
  /** SHA-256 of the file of its manifest. */
  readonly previous_sha256: string;
  readonly created: string;
  readonly signature: Signature | null;
  readonly sha256: string;
}

export type Sealed = { readonly signature: Signature | null; readonly sha256: string };
type Body<T extends Sealed> = Omit<T, 'signature' | 'sha256'>;

/** The text of a manifest or an anchor: one key a line, its signature and its own hash last. */
export function seal<T extends Sealed>(body: Body<T>, key: KeyObject | null): { value: T; text: string } {
  const value = key === null ? null : sign(null, Buffer.from(textOf(body)), key).toString('base64');
  const signature: Signature | null =
    key === null || value === null ? null : { algorithm: 'ed25519', key: keyName(key), value };
  const signed = { ...body, signature };
  const sealed = { ...signed, sha256: hashOf(textOf(signed)) } as unknown as T;
  return { value: sealed, text: textOf(sealed) };
}

/** A text that is not what was written. */
export class Unsealed extends Error {}

/**
 * Reads a manifest that `seal` wrote.
 *
 * @param key if given, the text must be signed by it
 * @throws Unsealed that says what is wrong, if a single byte is another or it says what no manifest can
 */
export function unsealManifest(bytes: Buffer, key: KeyObject | null): Manifest {
  return unseal<Manifest>(bytes, key, manifestSchema, 'it is not a valid manifest', [
    SCHEMA_VERSION,
    HOLDS_VERSION,
  ]);
}

/** The same of an anchor. @throws as `unsealManifest` */
export function unsealAnchor(bytes: Buffer, key: KeyObject | null): Anchor {
  return unseal<Anchor>(bytes, key, anchorSchema, 'it is not a valid anchor');
}

/** @param versions that are known of it, the newest last */
export function unseal<T extends Sealed>(
  bytes: Buffer,
  key: KeyObject | null,
  schema: z.ZodType,
  otherwise: string,
  versions: readonly number[] = [SCHEMA_VERSION],
): T {
  const value = parse(bytes);
  const { sha256, ...signed } = value;
  if (sha256 !== hashOf(textOf(signed))) throw new Unsealed('its text was changed');
  if (!versions.includes(Number(value.schema_version)))
    throw new Unsealed(
      `it has schema version ${String(value.schema_version)}, this program knows ${versions.join(' and ')}`,
    );
  if (!schema.safeParse(value).success) throw new Unsealed(otherwise);
  const { signature, ...body } = signed;
  if (key !== null) checkSignature(signature as Signature | null, textOf(body), key);
  return value as unknown as T; // not what the schema gives: its keys stand in the order in which they were signed
}

/** @throws Unsealed if what was read without a key is not signed by it */
export function checkSigned<T extends Sealed>(
  { sha256: _sha256, signature, ...body }: T,
  key: KeyObject,
): void {
  checkSignature(signature, textOf(body), key);
}

/** An object that is written as `seal` writes it. */
function parse(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const fields = value as Record<string, unknown>;
      if (Buffer.from(textOf(fields)).equals(bytes)) return fields;
    }
  } catch {
    // no JSON, or deeper than the stack: said below
  }
  throw new Unsealed('its text was changed');
}

/** Whether a manifest has a signature of a key; `wrong`: it says so, and has not. */
export type Signed = 'yes' | 'no' | 'wrong';

export function isSignedBy<T extends Sealed>(sealed: T, key: KeyObject): Signed {
  const { signature, sha256: _, ...body } = sealed;
  if (signature === null || signature.key !== keyName(key)) return 'no';
  return verify(null, Buffer.from(textOf(body)), publicOf(key), Buffer.from(signature.value, 'base64'))
    ? 'yes'
    : 'wrong';
}

function checkSignature(signature: Signature | null, text: string, key: KeyObject): void {
  if (signature === null) throw new Unsealed('it is not signed');
  const given = keyName(key);
  if (signature.key !== given)
    throw new Unsealed(`it is signed with the key ${signature.key}, and not with ${given}, which was given`);
  if (!verify(null, Buffer.from(text), key, Buffer.from(signature.value, 'base64')))
    throw new Unsealed('its signature is wrong');
}

/** Its file, byte by byte. */
export function textOfManifest(manifest: Manifest): string {
  return textOf(manifest);
}

/** SHA-256 in hex digits. */
export function hashOf(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Of a public or private key, the name by which a manifest says who signed it. */
export function keyName(key: KeyObject): string {
  return hashOf(publicOf(key).export({ type: 'spki', format: 'der' })).slice(0, 16);
}

function publicOf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

function textOf(fields: object): string {
  const lines = Object.entries(fields).map(
    ([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `{\n${lines.join(',\n')}\n}\n`;
}
