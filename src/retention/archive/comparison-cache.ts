import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../../errors.js';
import { archiveBroken, archiveFailed } from './archive-files.js';
import { openFile } from './files.js';
import type { Manifest } from './manifest.js';

const READ_AT_ONCE = 1024 * 1024;

/** A file that is being compared: what was read of it counts, though the query that it was for is over. */
interface Comparison {
  readonly directory: string;
  readonly manifest: Manifest;
  readonly identity: string;
  readonly hash: Hash;
  at: number;
}

/** What was compared with its manifest in this thread, by path: which file it was and when it was changed last, and the hash that it has. */
const compared = new Map<string, string>();
const comparing = new Map<string, Comparison>();
let until = Number.POSITIVE_INFINITY;

/**
 * How long what is asked for now may wait for the comparison of archives. Without this as long as it takes, which for large ones is
 * longer than anybody waits for a page.
 *
 * @param ms null: as long as it takes
 */
export function limitComparison(ms: number | null): void {
  until = ms === null ? Number.POSITIVE_INFINITY : performance.now() + ms;
}

/**
 * Compares the file of an archive with its manifest, once in this thread unless the file is another then.
 *
 * @param fd the file, open
 * @throws AuditdError `ARCHIVE_BROKEN`; `ARCHIVE_UNREAD` when the time is over: the next call goes on where this one was
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
 * Continues, for some time, the comparisons that queries could not wait for.
 *
 * @returns whether there is more to do. What is wrong with a file is for the next query to say.
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

/** @returns false when the time is over */
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
  compared.set(path, identity); // from before: a write meanwhile causes another comparison
  return true;
}

function notComparedYet({ manifest: { sequence, bytes }, at }: Comparison): AuditdError {
  const megabytes = (size: number) => Math.round(size / 2 ** 20).toLocaleString('en');
  return new AuditdError(
    'ARCHIVE_UNREAD',
    `Archive ${sequence} is compared with its manifest before its first row is read: ${megabytes(at)} of ${megabytes(bytes)} MiB so far`,
    { next: 'Ask again in a few seconds, or leave archives out (--no-archives, archives=false)' },
  );
}

/** Every write moves a file's ctime, which nobody can set. */
function identityOf(fd: number, { file_sha256: sha256 }: Manifest): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs} ${sha256}`;
}
