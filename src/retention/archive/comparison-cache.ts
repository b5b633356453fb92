import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../../errors.js';
import { groupedDigits } from '../../grouped-digits.js';
import { archiveBroken, archiveFailed } from './archive-files.js';
import { openFile } from './files.js';
import type { Manifest } from './manifest.js';

const READ_AT_ONCE = 1024 * 1024;

/** A comparison in progress: its result counts even after the query that started it has ended. */
interface Comparison {
  readonly directory: string;
  readonly manifest: Manifest;
  readonly identity: string;
  readonly hash: Hash;
  at: number;
}

/** The files that this thread has compared with their manifests, by path: identity, last change and hash. */
const compared = new Map<string, string>();
const comparing = new Map<string, Comparison>();
let until = Number.POSITIVE_INFINITY;

/**
 * Limits the time that the current request may wait for the comparison of archives. Without a limit, large archives take longer than
 * anybody waits for a page.
 *
 * @param ms null: no limit
 */
export function limitComparison(ms: number | null): void {
  until = ms === null ? Number.POSITIVE_INFINITY : performance.now() + ms;
}

/**
 * Compares the file of an archive with its manifest, once per thread unless the file changes.
 *
 * @param fd the file, open
 * @throws AuditdError `ARCHIVE_BROKEN`; `ARCHIVE_UNREAD` on a timeout: the next call resumes there
 */
export function compareOnce(directory: string, manifest: Manifest, fd: number): void {
  const path = join(directory, manifest.file);
  const identity = identityOf(fd, manifest);
  if (compared.get(path) === identity) return;
  compared.delete(path);
  const known = comparing.get(path);
  const one =
    known?.identity === identity
      ? known
      : { directory, manifest, identity, hash: createHash('sha256'), at: 0 };
  comparing.set(path, one);
  if (!compareUntil(path, one, fd, until)) throw notComparedYet(one);
}

/**
 * Continues, for a limited time, comparisons whose queries timed out.
 *
 * @returns whether there is more to do. The next query reports what is wrong with a file.
 */
export function continueComparison(ms: number): boolean {
  const [next] = comparing;
  if (next === undefined) return false;
  const [path, one] = next;
  let fd: number | null = null;
  try {
    fd = openFile(one.directory, one.manifest.file);
    if (identityOf(fd, one.manifest) === one.identity) compareUntil(path, one, fd, performance.now() + ms);
    else comparing.delete(path);
  } catch {
    comparing.delete(path);
  } finally {
    if (fd !== null) closeSync(fd);
  }
  return comparing.size > 0;
}

/** @returns false on a timeout */
function compareUntil(path: string, one: Comparison, fd: number, end: number): boolean {
  const { directory, manifest, hash, identity } = one;
  const { file, bytes, file_sha256: sha256 } = manifest;
  try {
    if (fstatSync(fd).size !== bytes)
      throw archiveBroken(directory, file, 'its size differs from its manifest');
    const buffer = Buffer.allocUnsafe(READ_AT_ONCE);
    while (one.at < bytes) {
      const read = readSync(fd, buffer, 0, Math.min(buffer.length, bytes - one.at), one.at);
      if (read === 0) break;
      hash.update(buffer.subarray(0, read));
      one.at += read;
      if (one.at < bytes && performance.now() > end) return false;
    }
    if (hash.digest('hex') !== sha256) throw archiveBroken(directory, file, 'its bytes were changed');
  } catch (error) {
    comparing.delete(path);
    throw archiveFailed(`${path} can't be read`, error);
  }
  comparing.delete(path);
  compared.set(path, identity); // read before the comparison: a write during it causes another one
  return true;
}

function notComparedYet({ manifest: { sequence, bytes }, at }: Comparison): AuditdError {
  const megabytes = (size: number) => groupedDigits(Math.round(size / 2 ** 20));
  return new AuditdError(
    'ARCHIVE_UNREAD',
    `Archive ${sequence} is compared with its manifest before its first row is read: ${megabytes(at)} of ${megabytes(bytes)} MiB so far`,
    { next: 'Ask again in a few seconds, or leave archives out (--no-archives, archives=false)' },
  );
}

/** Every write updates a file's ctime, which nobody can set. */
function identityOf(fd: number, { file_sha256: sha256 }: Manifest): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs} ${sha256}`;
}
