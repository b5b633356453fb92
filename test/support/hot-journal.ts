import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import Database from '../../src/load-sqlite.js';

/**
 * Leaves a database in the middle of a transaction, as a kill does. The table has the rows 1 to 500 with the value `before`, and some
 * already have `after`. Its journal ends with the name of a super-journal, which SQLite deletes after the rollback.
 */
export function prepareHotJournal(database: string, superJournal: string | null, table = 't'): void {
  const scratch = `${database}.scratch`;
  const db = new Database(scratch);
  db.exec(
    `PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; CREATE TABLE ${table} (id INTEGER PRIMARY KEY, value TEXT, created_at TEXT, action TEXT, user_id INTEGER, resource_type TEXT, resource_id TEXT, details TEXT, ip_address TEXT)`,
  );
  const insert = db.prepare(`INSERT INTO ${table} (value) VALUES ('before' || hex(zeroblob(400)))`);
  db.transaction(() => {
    for (let row = 0; row < 500; row++) insert.run();
  })();
  db.exec(`PRAGMA cache_size = 5; BEGIN; UPDATE ${table} SET value = replace(value, 'before', 'after')`);
  copyFileSync(scratch, database);
  const journal = readFileSync(`${scratch}-journal`);
  db.exec('ROLLBACK');
  db.close();
  writeFileSync(
    `${database}-journal`,
    superJournal === null ? journal : Buffer.concat([journal, recordOf(superJournal)]),
  );
}

function recordOf(path: string): Buffer {
  const name = Buffer.from(path);
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32BE(name.length, 0);
  numbers.writeInt32BE(
    name.reduce((sum, byte) => sum + byte, 0),
    4,
  );
  const page = Buffer.from([0, 0, 0, 1]);
  return Buffer.concat([page, name, numbers, Buffer.from('d9d505f920a163d7', 'hex')]);
}
