import { readFileSync } from 'node:fs';

/** The bytes that readers lock, in the file format of SQLite; a connection with `locking_mode=EXCLUSIVE` holds them for writing. */
const SHARED_FIRST = 0x4000_0002;

/**
 * Whether some process has the database to itself. The kernel doesn't say so everywhere (not in the daemon's unit): then SQLite
 * itself is asked, where that makes no files.
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
