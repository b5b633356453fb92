import { readFileSync } from 'node:fs';

/** The bytes that readers lock, in the file format of SQLite; a connection with `locking_mode=EXCLUSIVE` holds them for writing. */
const SHARED_FIRST = 0x4000_0002;

/**
 * Whether another process has locked the database exclusively. The kernel does not show this everywhere (not in the daemon's unit): then
 * SQLite itself is asked, if that creates no files.
 */
export function isHeldForWriting(inode: string): boolean {
  try {
    return holdsIn(readFileSync('/proc/locks', 'utf8'), inode);
  } catch {
    return false;
  }
}

/** A line is `1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 1073741826 1073742335` (proc(5)); device numbers differ from those of `stat` on some file systems. */
export function holdsIn(text: string, inode: string): boolean {
  return text.split('\n').some((line) => {
    const [, kind, , access, , file = '', from, to] = line.trim().split(/\s+/);
    if (kind !== 'POSIX' && kind !== 'OFDLCK') return false;
    const isSame = file.split(':')[2] === inode && access === 'WRITE';
    return isSame && Number(from) <= SHARED_FIRST && (to === 'EOF' || Number(to) >= SHARED_FIRST);
  });
}
