import { createRequire } from 'node:module';
import type BetterSqlite3 from 'better-sqlite3';
import { AuditdError } from './errors.js';
import { front } from './front.js';
import { reinstall, sentence } from './next-steps.js';

/** The release of better-sqlite3 that this Node.js supports. */
export const SQLITE_PACKAGE = packageFor(process.versions.napi);

/**
 * Release 13 needs Node-API 10, which Node.js has from 22.14 on. Release 12 is for earlier versions, such as Debian's. It does not work
 * with Node.js 24.19 and later: there it aborts the whole process within seconds (measured), when the garbage collector frees one of its
 * statements.
 *
 * @param nodeApi `process.versions.napi`
 */
export function packageFor(nodeApi: string | undefined): 'better-sqlite3' | 'better-sqlite3-napi' {
  return Number(nodeApi) >= 10 ? 'better-sqlite3-napi' : 'better-sqlite3';
}

type Database = BetterSqlite3.Database;
const Database: typeof BetterSqlite3 = load();
export default Database;

/** @throws AuditdError `NOT_INSTALLED`, for example if Node.js was replaced after the installation */
function load(): typeof BetterSqlite3 {
  try {
    return createRequire(import.meta.url)(SQLITE_PACKAGE) as typeof BetterSqlite3;
  } catch (error) {
    throw new AuditdError(
      'NOT_INSTALLED',
      `SQLite for Node.js ${process.versions.node} (${process.platform} ${process.arch}) is not installed`,
      {
        next: front() === 'source' ? 'Run npm ci with this Node.js' : sentence(reinstall()),
        cause: error,
      },
    );
  }
}
