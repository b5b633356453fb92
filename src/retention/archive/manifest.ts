import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { z } from 'zod';
import type { Compression } from './compression.js';
import { anchorSchema, manifestSchema } from './schema.js';

export const SCHEMA_VERSION = 1;
/** The schema version in a directory with legal holds: a version without legal holds must reject it. */
export const HOLDS_VERSION = 2;

export interface ArchivedColumn {
  readonly name: string;
  /** The declared type; empty if there is none. */
  readonly type: string;
}

/** A separately readable piece of the file: bytes, bytes of its content, rows, first and last id, first and last time (ms). */
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

/** The result of comparing archived rows with their fingerprints from delivery. */
export interface SinceDelivery {
  /** Rows of the archive that could be compared. */
  readonly compared: number;
  /** Those that differ, except by edits that the daemon recorded. */
  readonly differ: number;
  /** Delivered rows that are neither in an archive nor in the table: those up to this archive's last row that no earlier archive counts. */
  readonly missing: number;
  /** Ranges of ids, both inclusive; the first 1,000. */
  readonly differ_ids: ReadonlyArray<readonly [first: number, last: number]>;
  readonly missing_ids: ReadonlyArray<readonly [first: number, last: number]>;
}

/** The manifest file of an archive. */
export interface Manifest {
  readonly schema_version: number;
  /** Number of the archive in its directory, from 1. */
  readonly sequence: number;
  /** Name of the file with the rows, in the same directory. */
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
  /** ISO 8601, both inclusive; null if no row has a readable time. */
  readonly time: { readonly first: string; readonly last: string } | null;
  /** The time zone used for times without one; omitted: UTC. */
  readonly time_zone?: string;
  /** Omitted by releases that did not compare rows. */
  readonly since_delivery?: SinceDelivery;
  readonly bytes: number;
  readonly content_bytes: number;
  readonly file_sha256: string;
  /** Of the lines, uncompressed. */
  readonly content_sha256: string;
  readonly blocks: readonly Block[];
  /** SHA-256 of the previous manifest file; null in the first one. */
  readonly previous_sha256: string | null;
  readonly created: string;
  /** SHA-256 of the file of the newest record of legal holds (legal-hold-records.ts) at creation; omitted if there was none. */
  readonly holds_sha256?: string;
  readonly signature: Signature | null;
  /** SHA-256 of this text without this line. */
  readonly sha256: string;
}

/**
 * The anchor replaces archives that were removed because of their age: the chain begins after it.
 */
export interface Anchor {
  readonly schema_version: number;
  /** Number of the newest removed archive. */
  readonly sequence: number;
  /** SHA-256 of its manifest file. */
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

/** A text that was changed or never valid. */
export class Unsealed extends Error {}

/**
 * Reads a manifest that `seal` wrote.
 *
 * @param key if given, the text must be signed by it
 * @throws Unsealed with what is wrong, if a single byte was changed or the content is not valid
 */
export function unsealManifest(bytes: Buffer, key: KeyObject | null): Manifest {
  return unseal<Manifest>(bytes, key, manifestSchema, 'it is not a valid manifest', [
    SCHEMA_VERSION,
    HOLDS_VERSION,
  ]);
}

/** The same for an anchor. @throws as `unsealManifest` */
export function unsealAnchor(bytes: Buffer, key: KeyObject | null): Anchor {
  return unseal<Anchor>(bytes, key, anchorSchema, 'it is not a valid anchor');
}

/** @param versions the supported ones, the newest last */
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
  return value as unknown as T; // not the schema's output: the keys keep the order in which they were signed
}

/** @throws Unsealed if a text read without a key is not signed by it */
export function checkSigned<T extends Sealed>(
  { sha256: _sha256, signature, ...body }: T,
  key: KeyObject,
): void {
  checkSignature(signature, textOf(body), key);
}

/** Parses an object and checks that it is written as `seal` writes it. */
function parse(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const fields = value as Record<string, unknown>;
      if (Buffer.from(textOf(fields)).equals(bytes)) return fields;
    }
  } catch {
    // invalid JSON, or too deep for the stack: reported below
  }
  throw new Unsealed('its text was changed');
}

/** Whether a manifest is signed by a key; `wrong`: it names the key, but the signature is invalid. */
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

/** The bytes of the manifest file. */
export function textOfManifest(manifest: Manifest): string {
  return textOf(manifest);
}

/** SHA-256 in hex digits. */
export function hashOf(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** The id of a public or private key, by which a manifest names its signer. */
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
