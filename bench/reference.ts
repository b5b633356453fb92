import { closeSync, openSync, writeSync } from 'node:fs';
import Database from '#sqlite';

// The least that a program in Node.js does to write the rows of a table as JSON lines, 128 at a time. Argument: a database.

const db = new Database(process.argv[2] ?? '', { readonly: true });
const read = db.prepare('SELECT * FROM audit_log WHERE id > ? ORDER BY id LIMIT 128');
const output = openSync('/dev/null', 'w');
for (let last = 0; ; ) {
  const rows = read.all(last) as { id: number }[];
  const end = rows.at(-1);
  if (end === undefined) break;
  writeSync(output, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  last = end.id;
}
closeSync(output);
db.close();
