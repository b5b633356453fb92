import type { KeyObject } from 'node:crypto';
import {
  ANCHOR,
  type ArchiveContents,
  archiveBroken,
  contentsOf,
  manifestName,
  sequenceOf,
  stemOf,
} from './archive-files.js';
import { readBytes, type Unreadable } from './files.js';
import { type Anchor, hashOf, type Manifest, Unsealed, unsealAnchor, unsealManifest } from './manifest.js';

/** The end of a chain: what the next manifest is linked to. */
export interface ChainHead {
  /** 0 if there is no archive yet. */
  readonly sequence: number;
  /** SHA-256 of the manifest file; null if there is none. */
  readonly sha256: string | null;
}

/** @throws AuditdError `ARCHIVE_BROKEN` if it was changed, belongs to a different archive than its name says or, with a key, is not signed by it */
export function readManifest(
  directory: string,
  name: string,
  key: KeyObject | null = null,
  unreadable?: Unreadable,
): { manifest: Manifest; sha256: string } {
  const bytes = readBytes(directory, name, unreadable);
  const manifest = orBroken(directory, name, () => unsealManifest(bytes, key));
  const { sequence, source, timeline, month, file } = manifest;
  const stem = stemOf(sequence, source, timeline, month);
  if (sequence !== sequenceOf(name) || name !== manifestName(stem))
    throw archiveBroken(directory, name, 'it is the manifest of another archive');
  if (sequenceOf(file) !== sequence || !file.startsWith(`${stem}.`))
    throw archiveBroken(directory, name, 'it names the file of another archive');
  return { manifest, sha256: hashOf(bytes) };
}

/** The anchor; null if there is none. It counts only if it is recorded (anchor.ts). @throws as `readManifest` */
export function readAnchor(
  directory: string,
  contents: ArchiveContents,
  key: KeyObject | null = null,
): Anchor | null {
  if (!contents.anchor) return null;
  const bytes = readBytes(directory, ANCHOR);
  return orBroken(directory, ANCHOR, () => unsealAnchor(bytes, key));
}

/** The beginning of a chain from which nothing was removed. */
export const BEGINNING: ChainHead = { sequence: 0, sha256: null };

/**
 * @param begin the newest removed archive by the records (anchor.ts), not by the anchor, a file that others may write
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function chainHeadOf(
  directory: string,
  begin: ChainHead = BEGINNING,
  contents: ArchiveContents = contentsOf(directory),
): ChainHead {
  const [sequence, name] = [...contents.manifests].at(-1) ?? [0, null];
  if (name === null || begin.sequence >= sequence) return begin;
  return { sequence, sha256: readManifest(directory, name).sha256 };
}

function orBroken<T>(directory: string, name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof Unsealed) throw archiveBroken(directory, name, error.message);
    throw error;
  }
}
