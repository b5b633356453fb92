import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, messageOf } from '../errors.js';
import type { FileState } from './file-state.js';
import type { Waiting } from './source.js';

export function missing(database: string): Waiting {
  return {
    state: 'missing',
    message: `${database} is not there yet; waiting for Postern to make it. Set source.database if it is elsewhere`,
    code: 'ENOENT',
  };
}

export function notAFile(database: string): Waiting {
  return {
    state: 'not_a_database',
    message: `${database} is not a file. Set source.database to Postern's SQLite database`,
    code: null,
  };
}

/** With the file alone there is no `-wal` beside it, nor a new one that comes to its place: it looks as if Postern were stopped for ever. */
export function mountedAlone(database: string, files: Pick<FileState, 'path'>): Waiting {
  const directory = dirname(files.path);
  return {
    state: 'mounted_alone',
    message:
      `${database} is mounted by itself, without what SQLite keeps beside it (-wal, -shm, -journal): what Postern writes can't be read. ` +
      `Mount the directory, in Docker with -v /where/postern/has/it:${directory}:ro`,
    code: null,
  };
}

export function exclusive(database: string, code: string | null = null): Waiting {
  return {
    state: 'exclusive',
    message: `${database} is held by its writer alone (PRAGMA locking_mode=EXCLUSIVE): no other program can read what it writes. Have Postern use locking_mode=NORMAL, which is SQLite's default`,
    code,
  };
}

/** A moment, in which a look would keep it from its commit. */
export function committing(database: string): Waiting {
  return { state: 'locked', message: `${database} is being written`, code: null };
}

export function cantOpen(files: FileState): Waiting {
  return {
    state: 'stopped',
    message: `Postern is stopped; ${files.path} can be read when it runs again`,
    code: 'SQLITE_CANTOPEN',
  };
}

/** For an error of the system, before SQLite was asked. */
export function systemProblem(path: string, error: unknown): Waiting {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM') return unreadableDatabase(path, code);
  return { state: 'failed', message: `${path} can't be looked at: ${messageOf(error)}`, code };
}

/** For an error of SQLite, which comes at the first statement more often than at opening. */
export function waitingFor(database: string, files: FileState, error: unknown): Waiting {
  const code = codeOf(error);
  const [, family] = /^SQLITE_([A-Z]+)/.exec(code ?? '') ?? [];
  switch (family) {
    case 'CANTOPEN':
      return noWayIn(files);
    case 'BUSY':
    case 'LOCKED':
      if (code === 'SQLITE_BUSY_RECOVERY') return recovering(database, code);
      // Who shares a WAL has -shm, and keeps no reader out.
      if (files.walSize !== null && !hasShm(files)) return exclusive(database, code);
      return {
        state: 'locked',
        message: `${database} is locked by another program. If it stays so, one keeps a transaction open, or has it to itself (PRAGMA locking_mode=EXCLUSIVE); look for it with: fuser -v ${database}`,
        code,
      };
    case 'NOTADB':
      return {
        state: 'not_a_database',
        message: `${database} is no SQLite database, or an encrypted one. Set source.database to Postern's`,
        code,
      };
    case 'READONLY':
      return recovering(database, code);
    case 'PERM':
    case 'AUTH':
      return unreadableDatabase(files.path, code);
    case 'CORRUPT':
      return {
        state: 'failed',
        message: `${database} is damaged (${messageOf(error)}). Check it with: sqlite3 ${database} 'PRAGMA integrity_check'`,
        code,
      };
    default:
      return {
        state: 'failed',
        message: `reading ${database} failed: ${messageOf(error)}; trying again`,
        code,
      };
  }
}

export function hasShm({ path }: Pick<FileState, 'path'>): boolean {
  return statSync(`${path}-shm`, { throwIfNoEntry: false }) !== undefined;
}

/** SQLite does not say why it can't open: no permission for one of the files, or its writer has taken `-wal` or `-shm` with it. */
function noWayIn(files: FileState): Waiting {
  for (const suffix of ['', '-wal', '-shm']) {
    const path = `${files.path}${suffix}`;
    try {
      accessSync(path, constants.R_OK);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EACCES' || code === 'EPERM') return unreadableDatabase(path, code);
    }
  }
  return cantOpen(files);
}

function recovering(database: string, code: string | null): Waiting {
  return {
    state: 'recovering',
    message: `${database} is being recovered, or waits for Postern to start and recover it`,
    code,
  };
}

/** For a file that this user may not read. */
export function unreadableDatabase(path: string, code: string | null): Waiting {
  const user = process.geteuid?.() ?? 0;
  return {
    state: 'unreadable',
    message: `no permission to read ${path} (${describe(path)}; this is uid ${user}). Run install.sh --reconfigure, which chooses the user from the database's owner and mode`,
    code,
  };
}

function describe(path: string): string {
  try {
    const { uid, gid, mode } = statSync(path);
    return `owner ${uid}:${gid}, mode 0${(mode & 0o777).toString(8)}`;
  } catch {
    return `its directory ${dirname(path)} is closed`;
  }
}
