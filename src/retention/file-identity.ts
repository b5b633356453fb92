import { statSync } from 'node:fs';
import type { Problem } from './error-parts.js';

/** The identity of the file at a path, as text. */
export type FileIdentity = string;

/** The identity of a missing file; no existing file has it. */
const NONE: FileIdentity = 'none';

/** Device, inode and, because inodes are reused, the birth time if the file system has one. */
export function fileAt(path: string): FileIdentity {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return NONE;
  const { dev, ino, birthtimeNs: birth, ctimeNs } = stats;
  return `${dev}:${ino}:${birth === 0n || birth === ctimeNs ? '' : birth}`; // equal to ctime, it may not be a birth time
}

/** Checked with the file open, so that a later file at this path is not the one that is read. */
export function isFileAt(path: string, identity: FileIdentity): boolean {
  const [now, then] = [fileAt(path), identity].map((text) => text.split(':'));
  const [birth = '', born = ''] = [now?.[2], then?.[2]];
  const isSame = now?.[0] === then?.[0] && now?.[1] === then?.[1];
  return isSame && identity !== NONE && (birth === born || birth === '' || born === '');
}

/** The error when it is a different file. */
export function anotherFile(path: string): Problem {
  const what = `${path} has been replaced since the run began: this run removes nothing from the new database, the next one starts over`;
  return { what, next: null };
}
