import { statSync } from 'node:fs';
import type { Problem } from './error-parts.js';

/** Which file a path leads to, as text to be passed on. */
export type FileIdentity = string;

/** Of a file that is not there: no other has it. */
const NONE: FileIdentity = 'none';

/** Device, inode and, since an inode is given again to the next file, the time of birth where the file system keeps one. */
export function fileAt(path: string): FileIdentity {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return NONE;
  const { dev, ino, birthtimeNs: birth, ctimeNs } = stats;
  return `${dev}:${ino}:${birth === 0n || birth === ctimeNs ? '' : birth}`; // else it may be no time of birth at all
}

/** To be asked with the file open, so that whatever comes to its place afterwards is not what is read. */
export function isFileAt(path: string, identity: FileIdentity): boolean {
  const [now, then] = [fileAt(path), identity].map((text) => text.split(':'));
  const [birth = '', born = ''] = [now?.[2], then?.[2]];
  const isSame = now?.[0] === then?.[0] && now?.[1] === then?.[1];
  return isSame && identity !== NONE && (birth === born || birth === '' || born === '');
}

/** What failed when it is another. */
export function anotherFile(path: string): Problem {
  const what = `${path} has been replaced since the run began: this run removes nothing from the new database, the next one starts over`;
  return { what, next: null };
}
