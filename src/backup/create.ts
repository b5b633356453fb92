import fs from 'node:fs';
import { join } from 'node:path';
import { hubDatabase, type LoadedConfig } from '../config/load.js';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { ANCHOR, contentsOf, fsyncDirectory } from '../retention/archive/archive-files.js';
import { asOwner, openOwn } from '../shipping/as-owner.js';
import { readSourceId } from '../shipping/state-queries.js';
import { VERSION } from '../version.js';
import {
  ARCHIVE_DIRECTORY,
  BACKUP_JSON,
  type BackupFile,
  type BackupManifest,
  CONFIG_YML,
  copyFailed,
  copyTo,
  digestOf,
  HUB_DB,
  STATE_DB,
} from './manifest.js';

export interface CreateOptions {
  readonly loaded: LoadedConfig;
  /** Where to; must not exist, or be empty. */
  readonly directory: string;
  readonly archives: boolean;
  readonly clock?: () => number;
  /** What is copied at the moment, and the bytes of it so far. */
  readonly onProgress?: (name: string, part: number) => void;
}

/** Pages between two turns of the event loop: about 4 MB. */
const PAGES = 1_000;
const MOST_TRIES = 3;

/**
 * Copies what belongs to the daemon into a directory of mode 0700, while it runs or not. On a failure the files stay, without backup.json.
 *
 * @throws AuditdError `NOT_RUNNING` if there is no state yet, `OUTPUT_FAILED`, `STATE_UNUSABLE`, `CONFLICT`
 */
export async function createBackup(options: CreateOptions): Promise<BackupManifest> {
  const { loaded, directory, clock = Date.now } = options;
  const { config } = loaded;
  makeEmpty(directory);
  const archives = config.retention.archive.directory;
  for (let attempt = 1; ; attempt++) {
    const anchor = options.archives ? anchorIn(archives) : null;
    const created = new Date(clock()).toISOString();
    const state = await copyDatabase(config.state, STATE_DB, directory, options);
    const files = [state.file];
    if (fs.existsSync(hubDatabase(config.state)))
      files.push((await copyDatabase(config.state, HUB_DB, directory, options)).file);
    if (loaded.path !== null) files.push(copyPath(loaded.path, directory, CONFIG_YML));
    const copied = options.archives ? await copyArchives(archives, directory, options) : [];
    // The oldest archives were removed meanwhile: state.db does not know it, and so would not accept the anchor.
    if (copied === null || (options.archives && anchorIn(archives) !== anchor)) {
      if (attempt === MOST_TRIES)
        throw new AuditdError('CONFLICT', `Archives in ${archives} are being removed`, {
          next: 'Try again in a moment, or leave them out with --no-archives',
        });
      clear(directory);
      continue;
    }
    const made: BackupManifest = {
      version: 1,
      created,
      program: VERSION,
      server: config.server,
      source_id: state.sourceId,
      state_version: state.version,
      archives: options.archives ? archives : null,
      not_included: filesNamed(config),
      files: [...files, ...copied],
    };
    finish(directory, made);
    return made;
  }
}

function makeEmpty(directory: string): void {
  let names: string[] = [];
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    names = fs.readdirSync(directory);
    if (names.length === 0) fs.chmodSync(directory, 0o700);
  } catch (error) {
    throw copyFailed(directory, error);
  }
  if (names.length === 0) return;
  throw new AuditdError('USAGE', `${directory} is not empty`, {
    next: 'Give a directory that does not exist yet, one for each backup',
  });
}

function clear(directory: string): void {
  for (const name of fs.readdirSync(directory))
    fs.rmSync(join(directory, name), { recursive: true, force: true });
}

interface CopiedState {
  readonly file: BackupFile;
  readonly version: number;
  readonly sourceId: string;
}

/**
 * One transaction reads all of it, so the daemon's commits in between do not start the copy again, and do not get into it. The files are
 * opened as the owner of the state, by whose leave this user reads them; the copy is this user's.
 */
async function copyDatabase(
  state: string,
  name: string,
  directory: string,
  { onProgress }: CreateOptions,
): Promise<CopiedState> {
  const db = openDatabase(state, name);
  try {
    const path = join(directory, name);
    fs.closeSync(fs.openSync(path, 'wx', 0o600));
    await db.backup(path, {
      progress: ({ totalPages, remainingPages }) => {
        onProgress?.(name, totalPages === 0 ? 1 : 1 - remainingPages / totalPages);
        return PAGES;
      },
    });
    const sourceId = name === STATE_DB ? readSourceId(db) : null;
    return {
      file: { name, ...hashed(path) },
      version: Number(db.pragma('user_version', { simple: true })),
      sourceId: sourceId ?? '',
    };
  } catch (error) {
    throw copyFailed(join(directory, name), error);
  } finally {
    asOwner(state, () => db.close());
  }
}

function openDatabase(state: string, name: string) {
  const path = join(state, name);
  if (!fs.existsSync(path))
    throw new AuditdError(
      'NOT_RUNNING',
      `There is no ${path}: the daemon has not run yet, or this user may not see it`,
      {
        next: 'Run it as root, or as the user of the daemon',
      },
    );
  try {
    return asOwner(state, () => {
      const db = openOwn(state, name, { readonly: true, timeout: 5_000 });
      db.exec('BEGIN');
      db.prepare('SELECT count(*) FROM sqlite_master').get();
      return db;
    });
  } catch (error) {
    if (error instanceof AuditdError) throw error;
    throw new AuditdError('STATE_UNUSABLE', `${path} can't be read: ${messageOf(error)}`, {
      next: 'See postern-auditd check',
      cause: error,
    });
  }
}

/** By SQLite's last transaction the copy is complete, but for the write-ahead log of nobody. */
function hashed(path: string): Omit<BackupFile, 'name'> {
  const from = fs.openSync(path, 'r');
  try {
    fs.fsyncSync(from);
    return digestOf(from);
  } finally {
    fs.closeSync(from);
  }
}

function copyPath(path: string, directory: string, name: string): BackupFile {
  let from: number;
  try {
    from = fs.openSync(path, 'r');
  } catch (error) {
    throw copyFailed(path, error);
  }
  try {
    return { name, ...copyTo(from, join(directory, name)) };
  } finally {
    fs.closeSync(from);
  }
}

/** After state.db, so that each archive it knows is there. Null if one disappeared meanwhile. */
async function copyArchives(
  archives: string,
  directory: string,
  { onProgress }: CreateOptions,
): Promise<BackupFile[] | null> {
  const names = archiveNames(archives);
  fs.mkdirSync(join(directory, ARCHIVE_DIRECTORY), { mode: 0o700 });
  const copied: BackupFile[] = [];
  for (const [at, name] of names.entries()) {
    const from = openArchive(archives, name);
    if (from === null) return null;
    try {
      const inBackup = `${ARCHIVE_DIRECTORY}/${name}`;
      copied.push({ name: inBackup, ...copyTo(from, join(directory, inBackup)) });
    } finally {
      fs.closeSync(from);
    }
    onProgress?.(ARCHIVE_DIRECTORY, (at + 1) / names.length);
    await new Promise(setImmediate); // lets a signal arrive
  }
  fsyncDirectory(join(directory, ARCHIVE_DIRECTORY));
  return copied;
}

/** Manifests, rows, the anchor and the records of legal holds, by name; no unfinished files. */
function archiveNames(archives: string): string[] {
  const { manifests, files, anchor, holds } = contentsOf(archives);
  return [...manifests.values(), ...files, ...holds.values(), ...(anchor ? [ANCHOR] : [])];
}

/** As its owner: root would read whatever a link of that user leads to. Null if it is gone. */
function openArchive(archives: string, name: string): number | null {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const path = join(archives, name);
  try {
    return asOwner(archives, () => {
      const fd = fs.openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if (fs.fstatSync(fd).isFile()) return fd;
      fs.closeSync(fd);
      throw new Error('not a regular file');
    });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw copyFailed(path, error);
  }
}

/** The anchor's text; null if there is none. */
function anchorIn(archives: string): string | null {
  const fd = openArchive(archives, ANCHOR);
  if (fd === null) return null;
  try {
    return fs.readFileSync(fd, 'utf8');
  } finally {
    fs.closeSync(fd);
  }
}

/** Existing files that values of the configuration name: keys, certificates, passwords. */
function filesNamed(config: LoadedConfig['config']): string[] {
  const own = [config.source.database, config.control, config.fail2ban.bans];
  const named = new Set<string>();
  const walk = (value: unknown): void => {
    if (typeof value === 'string' && value.startsWith('/')) named.add(value);
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(walk);
  };
  walk(config);
  const isFile = (path: string) => fs.statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  return [...named]
    .filter((path) => !own.includes(path) && isFile(path))
    .sort((a, b) => a.localeCompare(b, 'en'));
}

/** Last of all, and durable. */
function finish(directory: string, made: BackupManifest): void {
  const path = join(directory, BACKUP_JSON);
  try {
    const fd = fs.openSync(path, 'wx', 0o600);
    try {
      fs.writeFileSync(fd, `${JSON.stringify(made, null, 2)}\n`);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fsyncDirectory(directory);
  } catch (error) {
    throw copyFailed(path, error);
  }
}
