import fs from 'node:fs';
import { codeOf } from '../../errors.js';

/** What identifies a file and how long it is. */
interface DirectoryEntry {
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: number;
  readonly modified: number;
}

/** Bytes of a file system: all of it, and what is left to users other than root. */
interface DiskSpace {
  readonly total: number;
  readonly free: number;
}

/** The system calls of the local sinks. Tests put one in between that fails, stops half-way or forgets. */
export interface Disk {
  open(path: string, flags: number, mode?: number): number;
  close(fd: number): void;
  /** Bytes read at `position`; 0 at the end. */
  read(fd: number, into: Buffer, length: number, position: number): number;
  /** Bytes written, perhaps fewer than asked. */
  write(fd: number, from: Buffer, offset: number, length: number): number;
  truncate(fd: number, length: number): void;
  /** File contents and length are on the medium once it resolves; not on the calling thread. */
  datasync(fd: number): Promise<void>;
  /** The same with all metadata; of a directory: its names. */
  sync(fd: number): Promise<void>;
  entryOf(fd: number): DirectoryEntry;
  /** Null if nothing has that name. Does not follow a link. */
  entryAt(path: string): DirectoryEntry | null;
  /** Empty if the directory does not exist. */
  names(directory: string): string[];
  makeDirectory(path: string, mode: number): void;
  rename(from: string, to: string): void;
  unlink(path: string): Promise<void>;
  link(target: string, path: string): void;
  linkTarget(path: string): string;
  changeMode(fd: number, mode: number): void;
  changeGroup(fd: number, gid: number): void;
  space(path: string): DiskSpace;
}

function entry(stats: fs.BigIntStats): DirectoryEntry {
  return {
    kind: stats.isFile()
      ? 'file'
      : stats.isDirectory()
        ? 'directory'
        : stats.isSymbolicLink()
          ? 'link'
          : 'other',
    dev: stats.dev,
    ino: stats.ino,
    size: Number(stats.size),
    modified: Number(stats.mtimeMs),
  };
}

function missing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** The disk as it is. */
export const realDisk: Disk = {
  open: (path, flags, mode) => fs.openSync(path, flags, mode),
  close: (fd) => fs.closeSync(fd),
  read: (fd, into, length, position) => fs.readSync(fd, into, 0, length, position),
  write: (fd, from, offset, length) => fs.writeSync(fd, from, offset, length),
  truncate: (fd, length) => fs.ftruncateSync(fd, length),
  datasync: (fd) =>
    new Promise((resolve, reject) => fs.fdatasync(fd, (error) => (error ? reject(error) : resolve()))),
  sync: (fd) =>
    new Promise((resolve, reject) => fs.fsync(fd, (error) => (error ? reject(error) : resolve()))),
  entryOf: (fd) => entry(fs.fstatSync(fd, { bigint: true })),
  entryAt: (path) => {
    try {
      const stats = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
      return stats === undefined ? null : entry(stats);
    } catch (error) {
      if (missing(error)) return null;
      throw error;
    }
  },
  names: (directory) => {
    try {
      return fs.readdirSync(directory);
    } catch (error) {
      if (missing(error)) return [];
      throw error;
    }
  },
  makeDirectory: (path, mode) => {
    fs.mkdirSync(path, { recursive: true, mode });
  },
  rename: (from, to) => fs.renameSync(from, to),
  unlink: (path) => fs.promises.unlink(path),
  link: (target, path) => fs.symlinkSync(target, path),
  linkTarget: (path) => fs.readlinkSync(path),
  changeMode: (fd, mode) => fs.fchmodSync(fd, mode),
  changeGroup: (fd, gid) => fs.fchownSync(fd, -1, gid),
  space: (path) => {
    const { blocks, bavail, bsize } = fs.statfsSync(path);
    return { total: blocks * bsize, free: bavail * bsize };
  },
};
