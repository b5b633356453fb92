import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const MODULE = pathToFileURL(resolve(import.meta.dirname, '../../dist/load-sqlite.js')).href;
const PROGRAM = `
const [path, sql] = process.argv.slice(1);
const { default: Database } = await import(${JSON.stringify(MODULE)});
const statement = new Database(path).prepare(sql);
if (statement.reader) for (const row of statement.raw().all()) console.log(row.join('|'));
else statement.run();
`;

/** Runs SQL in another process, without the sqlite3 shell, which not every machine has. */
export function inAnotherProcess(path: string, sql: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '-e', PROGRAM, path, sql], {
    encoding: 'utf8',
  });
}
