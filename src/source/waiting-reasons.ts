import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, messageOf } from '../errors.js';
import { front } from '../front.js';
import { allowReading, sentence } from '../next-steps.js';
import type { FileState } from './file-state.js';
import { type Waiting, waiting } from './source.js';

export function missing(database: string): Waiting {
  return waiting('missing', `${database} is not there yet; waiting for Postern to create it`, {
    next:
      front() === 'container'
        ? `Mount the directory of Postern's database at ${dirname(database)}, or set source.database if it is elsewhere`
        : 'Set source.database if it is elsewhere',
    code: 'ENOENT',
  });
}

export function notAFile(database: string): Waiting {
  return waiting('not_a_database', `${database} is not a file`, {
    next: "Set source.database to Postern's SQLite database",
  });
}

/** If only the file is mounted, its `-wal` is never visible: Postern would look stopped for ever. */
export function mountedAlone(database: string, files: Pick<FileState, 'path'>): Waiting {
  const directory = dirname(files.path);
  const what =
    `${database} is mounted by itself, without the files that SQLite keeps beside it (-wal, -shm, -journal): ` +
    'new rows can not be read';
  const next = `Mount the directory, in Docker with -v /where/postern/has/it:${directory}:ro`;
  return waiting('mounted_alone', what, { next });
}

export function exclusive(database: string, code: string | null = null): Waiting {
  const what = `${database} is locked by its writer for good (PRAGMA locking_mode=EXCLUSIVE): no other program can read it`;
  return waiting('exclusive', what, {
    next: "Have Postern use locking_mode=NORMAL, which is SQLite's default",
    code,
  });
}

/** For a moment in which a read would block the writer's commit. */
export function committing(database: string): Waiting {
  return waiting('locked', `${database} is being written`);
}

export function cantOpen(files: FileState): Waiting {
  const what = `Postern is stopped; ${files.path} can be read when it runs again`;
  return waiting('stopped', what, { code: 'SQLITE_CANTOPEN' });
}

/** For an error of the system, before SQLite was asked. */
export function systemProblem(path: string, error: unknown): Waiting {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM') return unreadableDatabase(path, code);
  return waiting('failed', `${path} can't be examined: ${messageOf(error)}`, { code });
}

/** For an error of SQLite, which occurs more often at the first statement than at opening. */
export function waitingFor(database: string, files: FileState, error: unknown): Waiting {
  const code = codeOf(error);
  const [, family] = /^SQLITE_([A-Z]+)/.exec(code ?? '') ?? [];
  switch (family) {
    case 'CANTOPEN':
      return whyNotOpened(files);
    case 'BUSY':
    case 'LOCKED': {
      if (code === 'SQLITE_BUSY_RECOVERY') return recovering(database, code);
      // A database with a shared WAL has -shm, and locks no reader out.
      if (files.walSize !== null && !hasShm(files)) return exclusive(database, code);
      const next = `If that lasts, a program keeps a transaction open, or has locked the database for itself (PRAGMA locking_mode=EXCLUSIVE); find it with: fuser -v ${database}`;
      return waiting('locked', `${database} is locked by another program`, { next, code });
    }
    case 'NOTADB': {
      const what = `${database} is not a SQLite database, or is encrypted`;
      return waiting('not_a_database', what, { next: "Set source.database to Postern's", code });
    }
    case 'READONLY':
      return recovering(database, code);
    case 'PERM':
    case 'AUTH':
      return unreadableDatabase(files.path, code);
    case 'CORRUPT': {
      const next = `Check it with: sqlite3 ${database} 'PRAGMA integrity_check'`;
      return waiting('failed', `${database} is damaged (${messageOf(error)})`, { next, code });
    }
    default:
      return waiting('failed', `reading ${database} failed: ${messageOf(error)}; trying again`, { code });
  }
}

export function hasShm({ path }: Pick<FileState, 'path'>): boolean {
  return statSync(`${path}-shm`, { throwIfNoEntry: false }) !== undefined;
}

/** SQLite does not say why it can't open: no permission for one of the files, or its writer has taken `-wal` or `-shm` with it. */
function whyNotOpened(files: FileState): Waiting {
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
  const what = `${database} is being recovered, or waits for Postern to start and recover it`;
  return waiting('recovering', what, { code });
}

/** For a file that this user may not read. */
export function unreadableDatabase(path: string, code: string | null): Waiting {
  const user = process.geteuid?.() ?? 0;
  const what = `no permission to read ${path} (${describe(path)}; this is uid ${user})`;
  const next = sentence(allowReading(path, "chooses the user from the database's owner and mode"));
  return waiting('unreadable', what, { next, code });
}

function describe(path: string): string {
  try {
    const { uid, gid, mode } = statSync(path);
    return `owner ${uid}:${gid}, mode 0${(mode & 0o777).toString(8)}`;
  } catch {
    return `its directory ${dirname(path)} is closed`;
  }
}
