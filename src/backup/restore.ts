import fs from 'node:fs';
import { join } from 'node:path';
import type { SourceName } from '../audit/event.js';
import { hubDatabase, type LoadedConfig } from '../config/load.js';
import { AuditdError, messageOf } from '../errors.js';
import { createRecorder } from '../recorder/recorder.js';
import { contentsOf, fsyncDirectory, makeDirectory } from '../retention/archive/archive-files.js';
import { asOwner, openOwn } from '../shipping/as-owner.js';
import { takeLock } from '../shipping/lock.js';
import { STATE_VERSION, State } from '../shipping/state.js';
import { readSourceId, readTimeline } from '../shipping/state-queries.js';
import {
  ARCHIVE_DIRECTORY,
  type BackupManifest,
  checkBackupFiles,
  copyFailed,
  copyTo,
  HUB_DB,
  readBackupManifest,
  STATE_DB,
} from './manifest.js';

export interface BackupRestoreOptions {
  readonly loaded: LoadedConfig;
  /** That of the backup. */
  readonly directory: string;
  /** Whether an existing state.db may be moved aside. */
  readonly replace: boolean;
  /** Who asks, as the caller says. */
  readonly by: string | null;
  readonly clock?: () => number;
  /** The part of the backup that is verified, 0 to 1. */
  readonly onProgress?: (part: number) => void;
}

export interface RestoredBackup {
  readonly created: string;
  readonly state: string;
  /** Where the state that was there is now; null if there was none. */
  readonly replaced: string | null;
  /** `kept`: there are archives already, which stay as they are. `none`: the backup has none. */
  readonly archives: {
    readonly directory: string;
    readonly outcome: 'restored' | 'kept' | 'none';
    readonly files: number;
  };
  /** What the restored state begins. */
  readonly timelines: Readonly<Partial<Record<SourceName, number>>>;
}

const SOURCES: readonly SourceName[] = ['postern', 'auditd'];
const SUFFIXES = ['', '-wal', '-shm', '-journal'];
const { O_RDONLY, O_NOFOLLOW } = fs.constants;
const DATABASE_MODE = 0o640;
const ARCHIVE_MODE = 0o640;

/**
 * Puts a backup into the directories of the configuration, while no daemon runs. Nothing is deleted: a state that is there is moved aside,
 * and archives that are there stay.
 *
 * @throws AuditdError `NOT_FOUND` if the backup is incomplete or was changed, `LOCKED` while a daemon runs, `CONFLICT` if there is a state
 *   and `replace` is not set, `STATE_NEWER`, `OUTPUT_FAILED`
 */
export function restoreBackup(options: BackupRestoreOptions): RestoredBackup {
  const { loaded, directory, onProgress = () => undefined } = options;
  const { config } = loaded;
  const manifest = readBackupManifest(directory);
  if (manifest.state_version > STATE_VERSION)
    throw new AuditdError(
      'STATE_NEWER',
      `The backup is of postern-auditd ${manifest.program}, whose state.db this version does not know`,
      { next: `Install postern-auditd ${manifest.program} or later` },
    );
  const total = manifest.files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  checkBackupFiles(directory, manifest, (bytes) => {
    done += bytes;
    onProgress(done / total);
  });
  const { state } = config;
  if (!fs.existsSync(state)) makeStateDirectory(state);
  const lock = asOwner(state, () => takeLock(state));
  try {
    const existing = timelinesIn(state);
    const replaced = moveAside(options, existing !== null);
    const archives = restoreArchives(config.retention.archive.directory, directory, manifest);
    const names = manifest.files
      .map(({ name }) => name)
      .filter((name) => name === STATE_DB || name === HUB_DB);
    for (const name of names) restoreDatabase(state, directory, name);
    const timelines = asOwner(state, () => beginTimelines(options, manifest, existing ?? {}, archives));
    return { created: manifest.created, state, replaced, archives, timelines };
  } finally {
    asOwner(state, () => lock.release());
  }
}

type Timelines = Partial<Record<SourceName, number>>;

/** systemd gives it to the daemon's user at the next start. */
function makeStateDirectory(state: string): void {
  try {
    fs.mkdirSync(state, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw copyFailed(state, error);
  }
}

/** The newest timelines of a state that is there, however damaged it is; null if there is none. */
function timelinesIn(state: string): Timelines | null {
  if (!fs.existsSync(join(state, STATE_DB))) return null;
  try {
    return asOwner(state, () => {
      const db = openOwn(state, STATE_DB, { readonly: true, timeout: 5_000 });
      try {
        return Object.fromEntries(SOURCES.map((source) => [source, readTimeline(db, source)]));
      } finally {
        db.close();
      }
    });
  } catch {
    return {};
  }
}

/** With their logs, so that each remains a whole database. @returns the new path of state.db; null if there was none */
function moveAside(
  { loaded, replace, clock = Date.now }: BackupRestoreOptions,
  isThere: boolean,
): string | null {
  const { state } = loaded.config;
  if (isThere && !replace)
    throw new AuditdError('CONFLICT', `${join(state, STATE_DB)} exists`, {
      next: 'Give --replace to move it aside and to continue with the backup',
    });
  const mark = new Date(clock()).toISOString().replace(/[-:]|\.\d+/g, '');
  asOwner(state, () => {
    for (const path of [join(state, STATE_DB), hubDatabase(state)])
      for (const suffix of SUFFIXES) moveIfThere(`${path}${suffix}`, `${path}.replaced-${mark}${suffix}`);
  });
  return isThere ? `${join(state, STATE_DB)}.replaced-${mark}` : null;
}

function moveIfThere(from: string, to: string): void {
  if (fs.lstatSync(from, { throwIfNoEntry: false }) === undefined) return;
  try {
    fs.renameSync(from, to);
  } catch (error) {
    throw copyFailed(from, error);
  }
}

function restoreDatabase(state: string, backup: string, name: string): void {
  place(join(backup, name), state, name, DATABASE_MODE);
}

/** Only into a directory without archives: a chain is never mixed with another. */
function restoreArchives(
  archives: string,
  backup: string,
  manifest: BackupManifest,
): RestoredBackup['archives'] {
  const prefix = `${ARCHIVE_DIRECTORY}/`;
  const names = manifest.files
    .filter(({ name }) => name.startsWith(prefix))
    .map(({ name }) => name.slice(prefix.length));
  if (names.length === 0) return { directory: archives, outcome: 'none', files: 0 };
  const { manifests, files, holds, anchor } = contentsOf(archives);
  if (manifests.size > 0 || files.size > 0 || holds.size > 0 || anchor)
    return { directory: archives, outcome: 'kept', files: 0 };
  if (!fs.existsSync(archives)) inParent(archives, () => makeDirectory(archives));
  for (const name of names) place(join(backup, ARCHIVE_DIRECTORY, name), archives, name, ARCHIVE_MODE);
  return { directory: archives, outcome: 'restored', files: names.length };
}

function inParent(path: string, work: () => void): void {
  asOwner(join(path, '..'), work);
}

/** Read as this user, written as the owner of the directory; under its name once it is complete. */
function place(from: string, directory: string, name: string, mode: number): void {
  const fd = fs.openSync(from, O_RDONLY | O_NOFOLLOW);
  try {
    asOwner(directory, () => {
      const path = join(directory, name);
      fs.rmSync(`${path}.tmp`, { force: true });
      copyTo(fd, `${path}.tmp`, mode);
      fs.renameSync(`${path}.tmp`, path);
      fsyncDirectory(directory);
    });
  } catch (error) {
    throw copyFailed(join(directory, name), error);
  } finally {
    fs.closeSync(fd);
  }
}

/** Above those of the state that was there, which may have given out numbers after the backup. */
function beginTimelines(
  { loaded, directory, by, clock = Date.now }: BackupRestoreOptions,
  manifest: BackupManifest,
  existing: Timelines,
  archives: RestoredBackup['archives'],
): Timelines {
  const state = new State(loaded.config.state, clock);
  try {
    if (readSourceId(state.db) !== manifest.source_id)
      throw new AuditdError('STATE_UNUSABLE', `${state.path} is not the state of ${manifest.server}`);
    const timelines: Timelines = {};
    state.transaction(() => {
      for (const source of SOURCES) {
        if (state.timelines.current(source) === null) continue;
        const next = Math.max(readTimeline(state.db, source), existing[source] ?? 0) + 1;
        state.revisions.forget(source, next, 0);
        state.timelines.begin(source, next, `state.db was restored from a backup of ${manifest.created}`);
        timelines[source] = next;
      }
      createRecorder(state.db, { clock, server: loaded.config.server }).record({
        action: 'daemon.state_restore',
        ...(by === null ? {} : { user: { name: by } }),
        details: {
          backup: {
            directory,
            created: manifest.created,
            server: manifest.server,
            version: manifest.program,
          },
          timelines,
          archives: archives.outcome,
          by: { kind: 'command', name: by, claimed: true },
        },
      });
    });
    return timelines;
  } catch (error) {
    if (error instanceof AuditdError) throw error;
    throw new AuditdError('STATE_UNUSABLE', `${state.path} can't be used: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    state.close();
  }
}
