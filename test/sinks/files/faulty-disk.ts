import fs from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { type Disk, realDisk } from '../../../src/sinks/files/filesystem.js';

/** The process died here: nothing it does afterwards counts. */
export class Death extends Error {}

function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: injected`), { code });
}

interface File {
  /** As of the last fdatasync. */
  durable: number;
  /** From here on pages were marked clean by an fdatasync that failed: later ones succeed and write nothing. */
  bad: number;
  path: string;
}

const CHANGES = [
  'open',
  'write',
  'truncate',
  'datasync',
  'sync',
  'rename',
  'unlink',
  'link',
  'makeDirectory',
] as const;

/**
 * The real disk with a process on it that can die between any two changes, also half-way through a write; with room that
 * ends; and with power that can fail: then each file ends somewhere behind its last fdatasync, perhaps in NULs.
 */
export class FaultyDisk {
  /** Changes until death; Infinity: never. */
  untilDeath = Number.POSITIVE_INFINITY;
  /** Bytes that can still be written; the write in which it ends is short, the next throws ENOSPC. */
  room = Number.POSITIVE_INFINITY;
  failTruncate: boolean = false;
  /** What fails: fdatasync of contents, fsync of a directory's names. */
  failSync: 'contents' | 'names' | null = null;
  dead: boolean = false;
  changes = 0;
  private readonly files = new Map<string, File>();
  private readonly open = new Map<number, File>();

  /** The disk as the sink sees it. */
  readonly disk: Disk = this.build();

  /** The next process: descriptors of the dead one are closed by the kernel. */
  restart(): void {
    for (const fd of this.open.keys()) fs.closeSync(fd);
    this.open.clear();
    for (const file of this.files.values()) file.bad = Number.POSITIVE_INFINITY; // what nobody can know counts as well
    this.dead = false;
    this.untilDeath = Number.POSITIVE_INFINITY;
  }

  /** What is not durable is lost in part. @param fate 0 to 1 for each file */
  losePower(fate: () => { kept: number; zeroed: number }): void {
    for (const file of this.files.values()) {
      if (!fs.existsSync(file.path)) continue;
      const { size } = fs.statSync(file.path);
      const { kept, zeroed } = fate();
      const length = Math.min(size, file.durable) + Math.floor(Math.max(0, size - file.durable) * kept);
      fs.truncateSync(file.path, length);
      const from = Math.max(file.durable, length - Math.floor(Math.max(0, length - file.durable) * zeroed));
      if (from < length) {
        const fd = fs.openSync(file.path, 'r+');
        fs.writeSync(fd, Buffer.alloc(length - from), 0, length - from, from);
        fs.closeSync(fd);
      }
      file.durable = length;
    }
  }

  private step(): void {
    if (this.dead) throw new Death('already dead');
    this.changes++;
    if (--this.untilDeath > 0) return;
    this.dead = true;
    throw new Death('died');
  }

  private build(): Disk {
    const disk: Disk = { ...realDisk };
    // Everything asks whether the process is alive; changes are where it dies.
    for (const name of Object.keys(realDisk) as Array<keyof Disk>) {
      if (CHANGES.some((change) => change === name)) continue;
      const real = realDisk[name] as (...given: unknown[]) => unknown;
      (disk as unknown as Record<string, unknown>)[name] = (...given: unknown[]) => {
        if (this.dead) throw new Death('already dead');
        return real(...given);
      };
    }
    disk.open = (path, flags, mode) => {
      const creates = (flags & fs.constants.O_CREAT) !== 0;
      if (creates) this.step();
      else if (this.dead) throw new Death('already dead');
      if (creates && this.room <= 0) throw systemError('ENOSPC');
      const fd = realDisk.open(path, flags, mode);
      let file = this.files.get(path);
      if (file === undefined || creates) {
        file = { durable: creates ? 0 : fs.fstatSync(fd).size, bad: Number.POSITIVE_INFINITY, path };
        if (fs.fstatSync(fd).isFile()) this.files.set(path, file);
      }
      this.open.set(fd, file);
      return fd;
    };
    disk.close = (fd) => {
      if (this.dead) throw new Death('already dead');
      this.open.delete(fd);
      realDisk.close(fd);
    };
    disk.write = (fd, from, offset, length) => {
      if (this.dead) throw new Death('already dead');
      if (this.room <= 0) {
        this.step();
        throw systemError('ENOSPC');
      }
      const fits = Math.min(length, this.room);
      this.room -= fits;
      try {
        this.step();
      } catch (error) {
        // kill -9 in the middle of write(2)
        realDisk.write(fd, from, offset, Math.floor((fits * (this.changes % 7)) / 6));
        throw error;
      }
      return realDisk.write(fd, from, offset, fits);
    };
    disk.truncate = (fd, length) => {
      this.step();
      if (this.failTruncate) throw systemError('EIO');
      realDisk.truncate(fd, length);
      const file = this.open.get(fd);
      if (file === undefined) return;
      file.durable = Math.min(file.durable, length);
      if (length <= file.bad) file.bad = Number.POSITIVE_INFINITY;
    };
    disk.datasync = async (fd) => {
      const file = this.open.get(fd);
      const size = fs.fstatSync(fd).size;
      this.step();
      await setImmediate(); // batches may be written meanwhile
      if (this.dead) throw new Death('already dead');
      if (file === undefined) return;
      if (this.failSync === 'contents') {
        if (size > file.durable) file.bad = Math.min(file.bad, file.durable);
        throw systemError('EIO');
      }
      file.durable = Math.max(file.durable, Math.min(size, file.bad));
    };
    disk.sync = async (fd) => {
      this.step();
      const file = this.open.get(fd);
      await setImmediate();
      if (this.dead) throw new Death('already dead');
      if (this.failSync === 'names') throw systemError('EIO');
      if (file !== undefined) file.durable = fs.fstatSync(fd).size;
    };
    disk.rename = (from, to) => {
      this.step();
      realDisk.rename(from, to);
      const file = this.files.get(from);
      this.files.delete(from);
      if (file !== undefined) this.files.set(to, Object.assign(file, { path: to }));
    };
    disk.unlink = async (path) => {
      this.step();
      this.files.delete(path);
      await realDisk.unlink(path);
    };
    disk.link = (target, path) => {
      this.step();
      realDisk.link(target, path);
    };
    disk.makeDirectory = (path, mode) => {
      this.step();
      realDisk.makeDirectory(path, mode);
    };
    return disk;
  }
}
