import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { AuditdError, codeOf, messageOf } from '../../errors.js';

/** Archives contain unmasked rows, including secrets: only the daemon's user and its group may read them. */
const DIRECTORY_MODE = 0o750;
const FILE_MODE = 0o640;

export const TEMPORARY = '.tmp';
export const ANCHOR = 'anchor.json';
const MANIFEST = '.manifest.json';
/** Exists if the directory is a file system of its own. */
const LOST_FOUND = 'lost+found';
const NAME = /^(\d{6,12})-[a-z]+-t\d+-(?:\d{4,6}-\d\d|undated)\.(?:manifest\.json|ndjson(?:\.gz|\.zst)?)$/;

/**
 * A version without legal holds takes the name of a hold record for the manifest of the newest archive. That version reads it first, finds
 * an unknown schema version, and neither archives nor removes anything. So the numbers of hold records begin above those of archives.
 */
const HOLD = /^(9\d{11})-hold-t0-undated\.manifest\.json$/;
const HOLDS_BEGIN = 900_000_000_000;

/** The contents of an archive directory, by name. */
export interface ArchiveContents {
  /** Names of manifests by sequence, the oldest first. */
  readonly manifests: ReadonlyMap<number, string>;
  /** Names of files with rows. */
  readonly files: ReadonlySet<string>;
  readonly temporary: readonly string[];
  readonly anchor: boolean;
  /** Names of legal hold records by number, the oldest first. */
  readonly holds: ReadonlyMap<number, string>;
  /** Other names. */
  readonly others: readonly string[];
}

/** @throws AuditdError `ARCHIVE_FAILED`; a missing directory counts as empty */
export function contentsOf(directory: string): ArchiveContents {
  let names: string[];
  try {
    names = readdirSync(directory).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') names = [];
    else throw archiveFailed(`${directory} can't be read`, error);
  }
  const manifests = new Map<number, string>();
  const files = new Set<string>();
  const temporary: string[] = [];
  const others: string[] = [];
  const holds = new Map<number, string>();
  for (const name of names) {
    const sequence = sequenceOf(name);
    const hold = holdNumberOf(name);
    if (hold !== null) holds.set(hold, name);
    else if (name.endsWith(TEMPORARY)) temporary.push(name);
    else if (sequence === null) {
      if (name !== ANCHOR && name !== LOST_FOUND) others.push(name);
    } else if (!name.endsWith(MANIFEST)) files.add(name);
    else if (manifests.has(sequence)) others.push(name);
    else manifests.set(sequence, name);
  }
  return {
    manifests: new Map([...manifests].sort(([a], [b]) => a - b)),
    files,
    temporary,
    anchor: names.includes(ANCHOR),
    holds,
    others,
  };
}

/** The number at the beginning of one of our names; null for any other name. */
export function sequenceOf(name: string): number | null {
  const [, digits] = NAME.exec(name) ?? [];
  return digits === undefined || HOLD.test(name) ? null : Number(digits);
}

/** The number of the legal hold record with this name, from 1; null for any other name. */
export function holdNumberOf(name: string): number | null {
  const [, digits] = HOLD.exec(name) ?? [];
  return digits === undefined || Number(digits) === HOLDS_BEGIN ? null : Number(digits) - HOLDS_BEGIN;
}

export function holdName(number: number): string {
  return `${HOLDS_BEGIN + number}-hold-t0-undated${MANIFEST}`;
}

/** The name of a file with rows. */
export function isRowsName(name: string): boolean {
  return sequenceOf(name) !== null && !name.endsWith(MANIFEST);
}

export function isManifestName(name: string): boolean {
  return sequenceOf(name) !== null && name.endsWith(MANIFEST);
}

/** `000042-postern-t1-2026-11`: names in the order of the chain. */
export function stemOf(sequence: number, source: string, timeline: number, month: string): string {
  return `${String(sequence).padStart(6, '0')}-${source}-t${timeline}-${month}`;
}

export function manifestName(stem: string): string {
  return `${stem}${MANIFEST}`;
}

export function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: DIRECTORY_MODE });
  } catch (error) {
    throw archiveFailed(`${directory} can't be created`, error);
  }
}

/** Creates a new file. */
export function createFile(path: string): number {
  const fd = openSync(path, 'wx', FILE_MODE);
  fchmodSync(fd, FILE_MODE); // whatever the umask
  return fd;
}

export function writeAll(fd: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
}

/** Makes the names in the directory durable. */
export function fsyncDirectory(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes a small file atomically: to a temporary file, fsync, rename, fsync of the directory. */
export function placeFile(directory: string, name: string, text: string): void {
  prepareFile(directory, name, text);
  renameSync(join(directory, `${name}${TEMPORARY}`), join(directory, name));
  fsyncDirectory(directory);
}

/** The first half: durable under its temporary name. */
export function prepareFile(directory: string, name: string, text: string): void {
  const path = join(directory, `${name}${TEMPORARY}`);
  rmSync(path, { force: true });
  const fd = createFile(path);
  try {
    writeAll(fd, Buffer.from(text));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The message of a file error, with its next step. */
export function archiveFailed(what: string, cause: unknown): AuditdError {
  if (cause instanceof AuditdError) return cause;
  const next =
    codeOf(cause) === 'ENOSPC' || codeOf(cause) === 'EDQUOT'
      ? 'Make room on its file system'
      : 'See that it is there and that this user may use it';
  return new AuditdError('ARCHIVE_FAILED', `${what}: ${messageOf(cause)}`, { next, cause });
}

class Fault extends Error {
  constructor(
    readonly file: string,
    what: string,
  ) {
    super(what);
  }
}

/** The file that an error of `broken` names. */
export function fileAtFault({ cause }: AuditdError): string {
  return cause instanceof Fault ? cause.file : 'a file';
}

const VERIFY = 'Put the file back from a backup; postern-auditd archive verify finds what else is wrong';

/** The error for an existing file with invalid content. */
export function archiveBroken(directory: string, name: string, what: string, next = VERIFY): AuditdError {
  return new AuditdError('ARCHIVE_BROKEN', `${join(directory, name)}: ${what}`, {
    next,
    cause: new Fault(name, what),
  });
}
