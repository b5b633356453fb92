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
 * Puts right what a crash left, before a run begins: an archive whose file had its name already and whose manifest had not gets
 * it, archives whose removal is recorded are removed, and so is everything that ends in `.tmp`.
 * Only while nobody else writes archives there.
 *
 * @param directory of the archives; need not be there
 * @param begin the newest archive that was removed, as it is recorded
 * @param remove up to which archive a decision to remove them is recorded. What an anchor says removes nothing.
 * @returns the manifest that was put in its place, if one was
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function repairArchives(directory: string, begin: ChainHead = BEGINNING, remove = 0): Manifest | null {
  try {
    removeUpTo(directory, remove);
    const contents = contentsOf(directory);
    let placed: Manifest | null = null;
    for (const name of contents.temporary) {
      // Perhaps of a hold that another thread is just writing; the next hold replaces it.
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

/** Gives a manifest its name if its archive is whole and next in the chain. */
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
 * Is this the manifest of an archive that is whole, next in the chain, and lacks nothing but the manifest's name? That is what a
 * death between the two last steps of its writer leaves (write.ts).
 *
 * @param name that the manifest is to have
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

/** Whether a file exists but is not what was written. */
function isNotAsWritten(error: unknown): boolean {
  return error instanceof Unsealed || (error instanceof AuditdError && error.code === 'ARCHIVE_BROKEN');
}
