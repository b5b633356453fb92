/**
 * A backup of the daemon: a directory with state.db, a hub's hub.db, the configuration, the archives, and `backup.json`, which names each
 * file with its size and SHA-256. It is written last, so a directory without it is no backup.
 *
 * THE COPY is what a crash at that moment would have left: each database is read in one transaction, state.db first. Everything copied
 * after it (hub.db, archives) is at least as new, as after a crash.
 *
 * THE RESTORED STATE begins another timeline of each source. So each sink gets what it has not had by the backup and by its own log
 * files, and ids of the daemon's own events that are given out again differ from the first ones in their timeline.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { AuditdError, codeOf, messageOf } from '../errors.js';

export const BACKUP_JSON = 'backup.json';
export const STATE_DB = 'state.db';
export const HUB_DB = 'hub.db';
export const CONFIG_YML = 'config.yml';
export const ARCHIVE_DIRECTORY = 'archive';

const CHUNK = 1 << 20;
/** Backups hold the key of `redact.mode: hmac` and unmasked rows: for their owner alone. */
const FILE_MODE = 0o600;

const manifest = z.strictObject({
  version: z.literal(1),
  /** ISO 8601; what was committed later is not in the backup. */
  created: z.iso.datetime(),
  program: z.string(),
  server: z.string(),
  source_id: z.string().regex(/^[0-9a-f]{32}$/),
  /** `user_version` of state.db. */
  state_version: z.int().min(1),
  /** Where the archives were; null: they are not in the backup. */
  archives: z.string().nullable(),
  /** Files that the configuration names, such as keys. They are not in the backup. */
  not_included: z.array(z.string()),
  files: z.array(
    z.strictObject({
      name: z.string().regex(/^(?:archive\/)?\w[\w.-]*$/),
      bytes: z.int().min(0),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});

export type BackupManifest = z.infer<typeof manifest>;
export type BackupFile = BackupManifest['files'][number];

/** @throws AuditdError `NOT_FOUND` if the directory holds no complete backup, `OUTPUT_FAILED` if it can't be read */
export function readBackupManifest(directory: string): BackupManifest {
  let text: string;
  try {
    text = fs.readFileSync(join(directory, BACKUP_JSON), 'utf8');
  } catch (error) {
    if (codeOf(error) !== 'ENOENT')
      throw new AuditdError('OUTPUT_FAILED', `${join(directory, BACKUP_JSON)}: ${messageOf(error)}`, {
        next: 'Run it as the user who made the backup',
        cause: error,
      });
    throw new AuditdError('NOT_FOUND', `${directory} is not a complete backup: it has no ${BACKUP_JSON}`, {
      next: 'Give a directory that postern-auditd backup create has finished',
    });
  }
  try {
    return manifest.parse(JSON.parse(text));
  } catch (error) {
    throw new AuditdError('NOT_FOUND', `${join(directory, BACKUP_JSON)} is not of a backup of this version`, {
      next: 'Use the version of postern-auditd that made the backup, or a later one',
      cause: error,
    });
  }
}

/** Reads each file of the backup. @throws AuditdError `NOT_FOUND` for the first that is missing or was changed */
export function checkBackupFiles(
  directory: string,
  { files }: BackupManifest,
  onProgress: (bytes: number) => void,
): void {
  for (const { name, bytes, sha256 } of files) {
    const path = join(directory, name);
    const found = hashOf(path, onProgress);
    if (found?.bytes === bytes && found.sha256 === sha256) continue;
    const what = found === null ? 'is missing' : 'is not as it was when the backup was made';
    throw new AuditdError('NOT_FOUND', `${path} ${what}`, { next: 'Use another backup' });
  }
}

/** Null if there is no such file. */
function hashOf(path: string, onProgress: (bytes: number) => void): Omit<BackupFile, 'name'> | null {
  let from: number;
  try {
    from = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw copyFailed(path, error);
  }
  try {
    return digestOf(from, onProgress);
  } finally {
    fs.closeSync(from);
  }
}

/**
 * Copies an open file into a new one, which is on the medium when this returns.
 *
 * @param mode of the new file, whatever the umask
 * @throws AuditdError `OUTPUT_FAILED`
 */
export function copyTo(from: number, path: string, mode = FILE_MODE): Omit<BackupFile, 'name'> {
  try {
    const to = fs.openSync(path, 'wx', mode);
    try {
      fs.fchmodSync(to, mode);
      const copied = eachChunk(from, (chunk) => {
        for (let at = 0; at < chunk.length; ) at += fs.writeSync(to, chunk, at);
      });
      fs.fsyncSync(to);
      return copied;
    } finally {
      fs.closeSync(to);
    }
  } catch (error) {
    throw copyFailed(path, error);
  }
}

/** Size and SHA-256 of an open file. */
export function digestOf(
  from: number,
  onProgress: (bytes: number) => void = () => undefined,
): Omit<BackupFile, 'name'> {
  return eachChunk(from, (chunk) => onProgress(chunk.length));
}

function eachChunk(from: number, work: (chunk: Buffer) => void): Omit<BackupFile, 'name'> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(CHUNK);
  let bytes = 0;
  for (;;) {
    const length = fs.readSync(from, buffer, 0, CHUNK, bytes);
    if (length === 0) return { bytes, sha256: hash.digest('hex') };
    const chunk = buffer.subarray(0, length);
    hash.update(chunk);
    work(chunk);
    bytes += length;
  }
}

export function copyFailed(path: string, cause: unknown): AuditdError {
  if (cause instanceof AuditdError) return cause;
  const code = codeOf(cause);
  const next =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'Make room on its file system, or give another directory'
      : 'See that the directory is there and that this user may use it';
  return new AuditdError('OUTPUT_FAILED', `${path}: ${messageOf(cause)}`, { next, cause });
}
