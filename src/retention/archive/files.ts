import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { type AuditdError, codeOf } from '../../errors.js';
import { archiveBroken, archiveFailed } from './archive-files.js';
import type { Manifest } from './manifest.js';

// The only functions that open files of an archive directory. The reader may be root, and another user may write to the directory.

/** Our manifests are smaller: one of 100 million rows has about 10 MB. */
const LARGEST_MANIFEST = 64 * 1024 * 1024;
const READ_AT_ONCE = 1024 * 1024;

/** Creates the error for a file that can't be opened. */
export type Unreadable = (path: string, error: unknown) => AuditdError;

/**
 * Opens a regular file directly in the directory, without following links or blocking, and rejects anything else.
 *
 * @param name a valid archive name (archive-files.ts)
 * @throws AuditdError `ARCHIVE_BROKEN` if it is not a regular file, `ARCHIVE_FAILED`
 */
export function openFile(directory: string, name: string, unreadable: Unreadable = cantRead): number {
  const path = join(directory, name);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ELOOP') throw archiveBroken(directory, name, 'it is a link');
    if (codeOf(error) === 'ENXIO') throw archiveBroken(directory, name, 'it is not a regular file'); // a socket
    throw unreadable(path, error);
  }
  if (fstatSync(fd).isFile()) return fd;
  closeSync(fd);
  throw archiveBroken(directory, name, 'it is not a regular file');
}

/** A manifest, an anchor or a record. @param largest its maximum size in bytes @throws as `openFile` */
export function readBytes(
  directory: string,
  name: string,
  unreadable: Unreadable = cantRead,
  largest = LARGEST_MANIFEST,
): Buffer {
  const fd = openFile(directory, name, unreadable);
  try {
    const { size } = fstatSync(fd);
    if (size > largest) throw archiveBroken(directory, name, 'it is larger than any manifest');
    const bytes = Buffer.alloc(size);
    let at = 0;
    for (let read = -1; read !== 0 && at < size; at += read) read = readSync(fd, bytes, at, size - at, at);
    return bytes.subarray(0, at);
  } finally {
    closeSync(fd);
  }
}

/**
 * Opens the file with the rows of an archive, and compares it with its manifest to the last byte.
 *
 * @throws as `openFile`; `ARCHIVE_BROKEN` if it differs
 */
export function openAsWritten(
  directory: string,
  { file, bytes, file_sha256: sha256 }: Manifest,
  unreadable: Unreadable = cantRead,
): number {
  const fd = openFile(directory, file, unreadable);
  try {
    if (fstatSync(fd).size !== bytes)
      throw archiveBroken(directory, file, 'its size differs from its manifest');
    if (hashOfOpen(fd, bytes) !== sha256) throw archiveBroken(directory, file, 'its bytes were changed');
    return fd;
  } catch (error) {
    closeSync(fd);
    throw archiveFailed(`${join(directory, file)} can't be read`, error);
  }
}

/** Uses constant memory. */
function hashOfOpen(fd: number, bytes: number): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(READ_AT_ONCE);
  for (let at = 0; at < bytes; ) {
    const read = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - at), at);
    if (read === 0) break;
    hash.update(buffer.subarray(0, read));
    at += read;
  }
  return hash.digest('hex');
}

function cantRead(path: string, error: unknown): AuditdError {
  return archiveFailed(`${path} can't be read`, error);
}
