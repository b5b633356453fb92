import type { KeyObject } from 'node:crypto';
import { closeSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../../errors.js';
import { archiveFailed, contentsOf, fsyncDirectory, sequenceOf, TEMPORARY } from './archive-files.js';
import { removeUpTo } from './expire.js';
import { openAsWritten, readBytes } from './files.js';
import { leftoverOfHold } from './legal-hold-records.js';
import { type Manifest, Unsealed, unsealManifest } from './manifest.js';
import { BEGINNING, type ChainHead, chainHeadOf } from './manifest-chain.js';

/**
 * Repairs the leftovers of a crash before a run begins. If an archive's file has its final name and its manifest does not, the manifest is
 * renamed. Archives whose removal is recorded are removed, and so is everything that ends in `.tmp`. Nobody else may write archives
 * there at the same time.
 *
 * @param directory of the archives; may be missing
 * @param begin the newest removed archive by the records
 * @param remove the last archive with a recorded decision to remove it. An anchor alone removes nothing.
 * @returns the manifest that was renamed, if any
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function repairArchives(directory: string, begin: ChainHead = BEGINNING, remove = 0): Manifest | null {
  try {
    removeUpTo(directory, remove);
    const contents = contentsOf(directory);
    let placed: Manifest | null = null;
    for (const name of contents.temporary) {
      // It may belong to a hold that another thread is writing; the next hold replaces it.
      if (leftoverOfHold(name) !== null) continue;
      placed ??= finished(directory, name.slice(0, -TEMPORARY.length), contents.files, begin);
      rmSync(join(directory, name), { force: true });
    }
    if (contents.temporary.length > 0) fsyncDirectory(directory);
    return placed;
  } catch (error) {
    throw archiveFailed(`${directory} can't be repaired`, error);
  }
}

/** Gives a manifest its final name if its archive is complete and next in the chain. */
function finished(
  directory: string,
  name: string,
  files: ReadonlySet<string>,
  begin: ChainHead,
): Manifest | null {
  const manifest = finishable(directory, name, files, begin);
  if (manifest === null) return null;
  renameSync(join(directory, `${name}${TEMPORARY}`), join(directory, name));
  fsyncDirectory(directory);
  return manifest;
}

/**
 * Whether this is the manifest of an archive that is complete, next in the chain, and lacks only the manifest's final name. A crash between
 * the last two steps of its writer leaves such a manifest (write.ts).
 *
 * @param name the final name of the manifest
 * @param key if given, the manifest must be signed by it
 */
export function finishable(
  directory: string,
  name: string,
  files: ReadonlySet<string>,
  begin: ChainHead,
  key: KeyObject | null = null,
): Manifest | null {
  if (sequenceOf(name) === null) return null;
  const manifest = read(directory, `${name}${TEMPORARY}`, key);
  if (manifest === null || !files.has(manifest.file)) return null;
  const head = chainHeadOf(directory, begin);
  const isNext = manifest.sequence === head.sequence + 1 && manifest.previous_sha256 === head.sha256;
  return isNext && isAsWritten(directory, manifest) ? manifest : null;
}

function read(directory: string, name: string, key: KeyObject | null): Manifest | null {
  try {
    return unsealManifest(readBytes(directory, name), key);
  } catch (error) {
    if (isNotAsWritten(error)) return null;
    throw error;
  }
}

function isAsWritten(directory: string, manifest: Manifest): boolean {
  try {
    closeSync(openAsWritten(directory, manifest));
    return true;
  } catch (error) {
    if (isNotAsWritten(error)) return false;
    throw error;
  }
}

/** Whether a file exists but was changed. */
function isNotAsWritten(error: unknown): boolean {
  return error instanceof Unsealed || (error instanceof AuditdError && error.code === 'ARCHIVE_BROKEN');
}
