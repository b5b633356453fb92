import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { AuditdError } from '../../errors.js';
import { ANCHOR, type Contents, contentsOf, readBytes } from './directory.js';
import { type Anchor, hashOf, type Manifest, Unsealed, unseal } from './manifest.js';

/** The end of a chain: what the next manifest is linked to. */
export interface Head {
  /** 0 where there is no archive yet. */
  readonly sequence: number;
  /** SHA-256 of the file of the manifest; null where there is none. */
  readonly sha256: string | null;
}

/** @throws AuditdError `ARCHIVE_BROKEN` if it was changed or, with a key, not signed by it */
export function readManifest(
  directory: string,
  name: string,
  key: KeyObject | null = null,
): { manifest: Manifest; sha256: string } {
  const bytes = readBytes(directory, name);
  return { manifest: unsealed<Manifest>(directory, name, bytes, key), sha256: hashOf(bytes) };
}

/** Null if nothing was ever removed because of its age. @throws as `readManifest` */
export function readAnchor(
  directory: string,
  contents: Contents,
  key: KeyObject | null = null,
): Anchor | null {
  return contents.anchor ? unsealed<Anchor>(directory, ANCHOR, readBytes(directory, ANCHOR), key) : null;
}

/** @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
export function headOf(directory: string, contents: Contents = contentsOf(directory)): Head {
  const [sequence, name] = [...contents.manifests].at(-1) ?? [0, null];
  const anchor = readAnchor(directory, contents);
  if (name === null || (anchor !== null && anchor.sequence >= sequence))
    return { sequence: anchor?.sequence ?? 0, sha256: anchor?.previous_sha256 ?? null };
  const { manifest, sha256 } = readManifest(directory, name);
  if (manifest.sequence !== sequence) throw broken(directory, name, 'it is the manifest of another archive');
  return { sequence, sha256 };
}

export function broken(directory: string, name: string, what: string): AuditdError {
  return new AuditdError(
    'ARCHIVE_BROKEN',
    `${join(directory, name)}: ${what}. See what else is wrong with postern-auditd archive verify, and put the file back from a backup`,
    { cause: new Error(what) },
  );
}

function unsealed<T extends Manifest | Anchor>(
  directory: string,
  name: string,
  bytes: Buffer,
  key: KeyObject | null,
): T {
  try {
    return unseal<T>(bytes, key);
  } catch (error) {
    if (error instanceof Unsealed) throw broken(directory, name, error.message);
    throw error;
  }
}
