import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';

/** https://sqlite.org/fileformat.html, The Rollback Journal: at the end of one of a transaction over several databases. */
const MAGIC = Buffer.from('d9d505f920a163d7', 'hex');
/** Page number, length, checksum and magic around the name. */
const AROUND = 20;
const LONGEST_NAME = 4_096;

/**
 * Removes the name of a super-journal from the copy of a rollback journal. After rolling back, SQLite would delete the file of that name,
 * which the journal's writer has chosen. The copy's own database is still rolled back.
 *
 * @returns false if the journal is void: its super-journal is gone, so the transaction is committed
 */
export function withoutSuperJournal(journal: string): boolean {
  const fd = openSync(journal, 'r+');
  try {
    const { size } = fstatSync(fd);
    if (size < AROUND) return true;
    const end = Buffer.alloc(16);
    readSync(fd, end, 0, 16, size - 16);
    if (!end.subarray(8).equals(MAGIC)) return true;
    const length = end.readUInt32BE(0);
    if (length === 0 || length > LONGEST_NAME || length + AROUND > size) {
      ftruncateSync(fd, size - 8);
      return true;
    }
    const name = Buffer.alloc(length);
    readSync(fd, name, 0, length, size - 16 - length);
    ftruncateSync(fd, size - AROUND - length);
    // SQLite ignores a name with a wrong checksum, and rolls back. The checksum adds up characters, which are signed on some machines.
    const sums = [[...name], [...new Int8Array(name)]].map((bytes) => bytes.reduce((a, b) => (a + b) | 0, 0));
    return !sums.includes(end.readInt32BE(4)) || existsSync(name.toString());
  } finally {
    closeSync(fd);
  }
}
