import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import { createFileSink } from '../../../src/sinks/files/file-sink.js';
import { realDisk } from '../../../src/sinks/files/filesystem.js';
import { floorOf } from '../../../src/sinks/files/free-space.js';
import type { Batch, Sink } from '../../../src/sinks/sink.js';
import { deliverEvents } from '../../support/deliver.js';
import {
  batch,
  dependencies,
  fail2banConfig,
  fileConfig,
  logNames,
  NEVER,
  pairText,
  range,
  rolledText,
  rowsIn,
  sequences,
  temporaryDirectory,
} from './files-fixture.js';

/** Mounting takes root, and a kernel that lets root do it. */
function canMount(): string | null {
  if (process.getuid?.() !== 0) return 'not root';
  const directory = temporaryDirectory();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { stdio: 'pipe' });
    execFileSync('umount', [directory]);
    return null;
  } catch (error) {
    return String(error);
  } finally {
    fs.rmdirSync(directory);
  }
}

const why = canMount();
if (why !== null) {
  if (process.env.CI) throw new Error(`the tests with a full disk can't run: ${why}`);
  console.warn(`SKIPPED: the tests with a full disk need a tmpfs of their own: ${why}`);
}

/** Delivers as shipping does: the rest again, open after a throw. Returns how often it threw. */
async function ship(
  sink: Sink,
  whole: Batch,
  saved: string | null,
  tries: number,
): Promise<{ throws: string[]; upTo: number; saved: string | null }> {
  const throws: string[] = [];
  let cursor = 0;
  let note = saved;
  let opened = true;
  for (let i = 0; i < tries && cursor < whole.upTo; i++) {
    try {
      if (!opened) {
        const resume = await sink.open(note);
        expect(resume?.positions ?? []).toEqual([]);
        opened = true;
      }
      const rest = { ...whole, events: whole.events.filter((event) => event.sequence > cursor) };
      const delivered = await deliverEvents(sink, rest, NEVER);
      cursor = delivered.upTo;
      note = delivered.saved ?? note;
    } catch (error) {
      throws.push(String(error));
      opened = false;
    }
  }
  return { throws, upTo: cursor, saved: note };
}

describe.skipIf(why !== null)('a full disk', () => {
  let directory: string;
  let sinks: Sink[];

  beforeEach(() => {
    directory = temporaryDirectory();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]);
    sinks = [];
  });

  afterEach(async () => {
    for (const sink of sinks) await sink.close();
    execFileSync('umount', [directory]);
    fs.rmdirSync(directory);
  });

  const filler = (): string => path.join(directory, 'filler');

  /** Leaves room for so many pages. */
  function fill(pages: number): void {
    const { bavail, bsize } = fs.statfsSync(directory);
    fs.writeFileSync(filler(), Buffer.alloc(Math.max(0, Number(bavail) - pages) * Number(bsize)));
  }

  it.each(range(1, 8))(
    'a full disk stops the file sink in the middle of a line (%d pages left), and it resumes without a gap',
    async (pages) => {
      const { deps } = dependencies();
      const audit = path.join(directory, 'audit');
      const sink = createFileSink(fileConfig(audit), deps);
      sinks.push(sink);
      const opened = await sink.open(null);
      fill(pages);
      const rows = batch(1, 100, { details: JSON.stringify({ text: 'x'.repeat(1_000) }) });
      const first = await ship(sink, rows, opened?.saved ?? null, 5);
      expect(first.throws[0]).toMatch(/cannot write .*audit\.00000001\.log: ENOSPC.*Free space on its disk/);
      expect(first.upTo).toBeLessThan(100);
      expect(sequences(rolledText(audit))).toEqual(range(1, first.upTo));
      fs.unlinkSync(filler());
      const rest = { ...rows, events: rows.events.filter((event) => event.sequence > first.upTo) };
      await sink.open(first.saved);
      const second = await ship(sink, rest, first.saved, 3);
      expect(second.throws).toEqual([]);
      expect(sequences(rolledText(audit))).toEqual(range(1, 100));
    },
  );

  it('a full disk without space for a new file lets the old one grow', async () => {
    const { deps, warnings } = dependencies({
      disk: {
        ...realDisk,
        open: (file, flags, mode) => {
          if (file.endsWith('2.log'))
            throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
          return realDisk.open(file, flags, mode);
        },
      },
    });
    const audit = path.join(directory, 'audit');
    const sink = createFileSink(fileConfig(audit, { size: '1K' }), deps);
    sinks.push(sink);
    await sink.open(null);
    for (let n = 1; n <= 50; n += 10) await deliverEvents(sink, batch(n, n + 9), NEVER);
    expect(logNames(audit)).toEqual(['audit.00000001.log']);
    expect(sequences(rolledText(audit))).toEqual(range(1, 50));
    expect(warnings()).toHaveLength(1);
  });

  it("a full disk stops fail2ban's pair without a torn line, and outdated failures are not written later", async () => {
    const { deps, time } = dependencies();
    const auth = path.join(directory, 'auth');
    const sink = createFail2banSink(fail2banConfig(auth), { never_ban: [], ipv6_prefix: 128 }, deps);
    sinks.push(sink);
    const opened = await sink.open(null);
    fill(3);
    const rows = batch(1, 100, { details: JSON.stringify({ text: 'x'.repeat(1_000) }) });
    const first = await ship(sink, rows, opened?.saved ?? null, 5);
    expect(first.upTo).toBeGreaterThan(0);
    expect(first.upTo).toBeLessThan(100);
    expect(sequences(pairText(auth))).toEqual(range(1, first.upTo));
    fs.unlinkSync(filler());
    time.now += 51_000;
    await sink.open(first.saved);
    const rest = { ...rows, events: rows.events.filter((event) => event.sequence > first.upTo) };
    expect((await deliverEvents(sink, rest, NEVER)).upTo).toBe(100);
    expect(sequences(pairText(auth))).toEqual(range(1, first.upTo));
    expect(sink.figures().withheld_old_total).toBe(100 - first.upTo);
  });
});

describe('min_free', () => {
  let directory: string;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => fs.rmSync(directory, { recursive: true }));

  it.each([
    [2 ** 30, 2 ** 40, 2 ** 30],
    [2 ** 30, 10 * 2 ** 30, 2 ** 29],
    [0, 2 ** 40, 0],
  ])(
    'min_free of %d on a disk of %d bytes is a floor of %d: at most a twentieth of it',
    (minFree, total, floor) => {
      expect(floorOf(minFree, total)).toBeCloseTo(floor, -1);
    },
  );

  it('min_free removes the oldest files first, never the current one, then pauses, and resumes with free space', async () => {
    let free = 2_000;
    let looks = 0;
    const { deps, time, warnings } = dependencies({
      minFree: 1_000,
      disk: {
        ...realDisk,
        space: () => {
          looks++;
          return { total: 1e9, free };
        },
        unlink: async (file) => {
          await realDisk.unlink(file);
          if (/audit\.\d/.test(file)) free += 300;
        },
      },
    });
    const sink = createFileSink(fileConfig(directory, { size: '1K' }), deps);
    await sink.open(null);
    for (let n = 1; n <= 50; n += 10) await deliverEvents(sink, batch(n, n + 9), NEVER);
    expect(looks).toBe(1); // within one second
    expect(logNames(directory)).toHaveLength(5);

    free = 500;
    time.now += 1_000;
    await sink.tick?.(); // begins the sixth
    expect(logNames(directory)).toEqual(range(3, 6).map((n) => `audit.0000000${n}.log`));
    await deliverEvents(sink, batch(51, 60), NEVER);
    expect(warnings().filter((w) => /removing .* the disk is nearly full/.test(w))).toHaveLength(2);

    free = -2_000;
    time.now += 1_000;
    await expect(deliverEvents(sink, batch(61, 70), NEVER)).rejects.toThrow(/^paused: .* lacks 1 MB/);
    expect(logNames(directory)).toEqual(['audit.00000007.log']);
    expect(sink.figures().paused).toBe(true);
    await sink.open(null);
    free = 1_000;
    time.now += 1_000;
    await deliverEvents(sink, batch(61, 70), NEVER);
    expect(sink.figures().paused).toBe(false);
    expect(rowsIn(rolledText(directory)).rows.map((row) => row.sequence)).toEqual(range(61, 70));
    await sink.close();
  });

  it("min_free does not stop fail2ban's pair", async () => {
    const { deps } = dependencies({
      minFree: 1_000,
      disk: { ...realDisk, space: () => ({ total: 1e9, free: 0 }) },
    });
    const sink = createFail2banSink(fail2banConfig(directory), { never_ban: [], ipv6_prefix: 128 }, deps);
    await sink.open(null);
    expect((await deliverEvents(sink, batch(1, 5), NEVER)).upTo).toBe(5);
    await sink.close();
  });
});
