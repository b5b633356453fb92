import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { headOf, readAnchor } from './chain.js';
import { contentsOf, readBytes, sequenceOf, syncDirectory, TEMPORARY, trouble } from './directory.js';
import { type Manifest, Unsealed, unseal } from './manifest.js';

/**
 * Puts right what a crash left, before a run begins: an archive whose file had its name already and whose manifest had not gets
 * it, archives that an anchor stands for are removed, and so is everything that ends in `.tmp`.
 * Only while nobody else writes archives there.
 *
 * @param directory of the archives; need not be there
 * @returns the manifest that was put in its place, if one was
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function tidyArchives(directory: string): Manifest | null {
  try {
    const contents = contentsOf(directory);
    const removed = readAnchor(directory, contents)?.sequence ?? 0;
    for (const name of [...contents.files, ...contents.manifests.values()])
      if ((sequenceOf(name) ?? 0) <= removed) rmSync(join(directory, name), { force: true });
    let placed: Manifest | null = null;
    for (const name of contents.temporary) {
      placed ??= finished(directory, name.slice(0, -TEMPORARY.length), contents.files);
      rmSync(join(directory, name), { force: true });
    }
    if (contents.temporary.length > 0) syncDirectory(directory);
    return placed;
  } catch (error) {
    throw trouble(`${directory} can't be put in order`, error);
  }
}

/** Gives a manifest its name if its archive is whole and next in the chain. */
function finished(directory: string, name: string, files: ReadonlySet<string>): Manifest | null {
  const manifest = finishable(directory, name, files);
  if (manifest === null) return null;
  renameSync(join(directory, `${name}${TEMPORARY}`), join(directory, name));
  syncDirectory(directory);
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
  key: KeyObject | null = null,
): Manifest | null {
  if (sequenceOf(name) === null) return null;
  const manifest = read(directory, `${name}${TEMPORARY}`, key);
  if (manifest === null || !files.has(manifest.file)) return null;
  const head = headOf(directory);
  const isNext = manifest.sequence === head.sequence + 1 && manifest.previous_sha256 === head.sha256;
  return isNext && hashOfFile(join(directory, manifest.file)) === manifest.file_sha256 ? manifest : null;
}

function read(directory: string, name: string, key: KeyObject | null): Manifest | null {
  try {
    return unseal<Manifest>(readBytes(directory, name), key);
  } catch (error) {
    if (error instanceof Unsealed) return null;
    throw error;
  }
}

/** SHA-256 in hex digits, in constant memory. */
export function hashOfFile(path: string): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  const fd = openSync(path, 'r');
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer))
      hash.update(buffer.subarray(0, read));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}
