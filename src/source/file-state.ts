import { type BigIntStats, realpathSync, statSync } from 'node:fs';
import { codeOf } from '../errors.js';

/**
 * Timestamps of files move in steps of up to 4 ms (10 ms at HZ=100): a file written this recently may be written
 * again without any of its figures changing.
 */
const SETTLED_MS = 50;

/** The `stat` results of a database and its companion files. */
export interface FileState {
  /** The resolved path of the database: SQLite uses companion files there, not next to a link. */
  readonly path: string;
  readonly inode: string;
  /** Nanoseconds, as text. */
  readonly birthTime: string;
  readonly size: number;
  readonly device: bigint;
  readonly isFile: boolean;
  readonly walSize: number | null;
  readonly journalSize: number | null;
  /** Of the journal, milliseconds since the epoch; null if there is none. */
  readonly journalChanged: number | null;
  /** Inode, size and times of all of them: equal texts, equal contents, provided that it is settled. */
  readonly figures: string;
  /** Their modification times, milliseconds since the epoch. */
  readonly changed: readonly number[];
}

/**
 * Gets the state of the files without opening any.
 * @returns null if the database does not exist
 * @throws the system's error, `EACCES` above all
 */
export function stateOfFiles(database: string): FileState | null {
  let path: string;
  try {
    path = realpathSync.native(database);
  } catch (error) {
    if (isAbsence(error)) return null;
    throw error;
  }
  const main = statOf(path);
  return main === undefined ? null : stateOf(path, main);
}

function statOf(path: string): BigIntStats | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false });
}

/** @param path without links */
function stateOf(path: string, main: BigIntStats): FileState {
  const wal = statOf(`${path}-wal`);
  const journal = statOf(`${path}-journal`);
  return {
    path,
    inode: String(main.ino),
    birthTime: String(main.birthtimeNs),
    size: Number(main.size),
    device: main.dev,
    isFile: main.isFile(),
    walSize: wal === undefined ? null : Number(wal.size),
    journalSize: journal === undefined ? null : Number(journal.size),
    journalChanged: journal === undefined ? null : Number(journal.mtimeNs / 1_000_000n),
    figures: `${figuresOf(main)}:${main.ctimeNs} ${figuresOf(wal)} ${figuresOf(journal)}`,
    changed: [main.ctimeNs, main.mtimeNs, wal?.mtimeNs, journal?.mtimeNs]
      .filter((time) => time !== undefined)
      .map((time) => Number(time / 1_000_000n)),
  };
}

/** The path is resolved again after so many looks that found the same file at its end. */
const RESOLVE_LOOKS = 10;

/**
 * The state of the files for a caller that polls each second. Resolving a path takes a system call for each directory, so the resolved path
 * is cached as long as it leads to the same file. A retargeted link leads to a different file, which is noticed at once.
 */
export class RepeatedLook {
  private known: { readonly path: string; readonly device: bigint; readonly inode: bigint } | null = null;
  private looks = 0;

  constructor(private readonly database: string) {}

  /** As `stateOfFiles`. */
  look(): FileState | null {
    const { known, database } = this;
    if (known !== null && ++this.looks < RESOLVE_LOOKS) {
      const main = statOf(database);
      if (main?.dev === known.device && main.ino === known.inode) return stateOf(known.path, main);
    }
    this.looks = 0;
    const state = stateOfFiles(database);
    this.known =
      state === null ? null : { path: state.path, device: state.device, inode: BigInt(state.inode) };
    return state;
  }
}

/**
 * Whether a later write would change this state. Also true for a time in the future, as after the clock was set back: a write would get
 * the current time. `now` is in milliseconds, of the system's clock.
 */
export function isSettled(state: FileState, now: number, quietMs = SETTLED_MS): boolean {
  return state.changed.every((time) => Math.abs(now - time) > quietMs);
}

function isAbsence(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Without ctime: where root reads in a writable directory, SQLite itself moves it (fchown to the database's owner at each open). */
function figuresOf(stats: BigIntStats | undefined): string {
  if (stats === undefined) return '-';
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.birthtimeNs}`;
}

/** The path with links resolved; unchanged if that fails. */
export function realPathOf(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path;
  }
}
