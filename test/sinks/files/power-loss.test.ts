import fs from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import { parseFilePosition } from '../../../src/sinks/files/file-position.js';
import { createFileSink } from '../../../src/sinks/files/file-sink.js';
import { realDisk } from '../../../src/sinks/files/filesystem.js';
import type { Sink } from '../../../src/sinks/sink.js';
import { deliverEvents } from '../../support/deliver.js';
import {
  batch,
  dependencies,
  fail2banConfig,
  fileConfig,
  NEVER,
  pairText,
  range,
  rolledText,
  sequences,
  temporaryDirectory,
} from './files-fixture.js';

let directory: string;
let sink: Sink;
let note: string;

const file = (): string => path.join(directory, 'audit.00000001.log');
const offsets = (): { durable: number; end: number } => {
  const parsed = parseFilePosition(note);
  return { durable: parsed?.durable.offset ?? -1, end: parsed?.end.offset ?? -1 };
};

/** Rows 101 to 150 are durable, 151 to 200 written behind them; nothing is closed. */
beforeEach(async () => {
  directory = temporaryDirectory();
  sink = createFileSink(fileConfig(directory), dependencies().deps);
  await sink.open(null);
  await deliverEvents(sink, batch(101, 150), NEVER);
  await sink.tick?.();
  while (sink.figures().undurable_bytes !== 0) await setImmediate();
  note = (await deliverEvents(sink, batch(151, 200, {}, 220), NEVER)).saved ?? '';
});

afterEach(async () => {
  await sink.close();
  fs.rmSync(directory, { recursive: true });
});

async function reopened() {
  const given = dependencies();
  const next = createFileSink(fileConfig(directory), given.deps);
  const resume = await next.open(note);
  return { next, resume, upTo: resume?.positions[0]?.upTo, ...given };
}

describe('after a loss of power', () => {
  it.each([
    ['everything behind the last fdatasync is gone', () => offsets().durable, 150],
    [
      'half of it is gone, in the middle of a line',
      () => (offsets().durable + offsets().end) >> 1,
      undefined,
    ],
    ['the last byte is gone', () => offsets().end - 1, 199],
  ])('after a power loss (%s) the cursor moves back to the last complete line', async (_, length, back) => {
    fs.truncateSync(file(), length());
    const { next, upTo = -1, warnings } = await reopened();
    if (back !== undefined) expect(upTo).toBe(back);
    expect(upTo).toBeGreaterThanOrEqual(150);
    expect(warnings().at(-1)).toMatch(/lines were missing at the end of the log/);
    await deliverEvents(next, batch(upTo + 1, 205), NEVER);
    await next.close();
    expect(sequences(rolledText(directory))).toEqual(range(101, 205));
  });

  it.each([0, 1, 3_000])(
    'after a power loss the file ends in NULs from %d bytes after the last fdatasync',
    async (behind) => {
      const { durable, end } = offsets();
      const fd = fs.openSync(file(), 'r+');
      fs.writeSync(fd, Buffer.alloc(end - durable - behind), 0, end - durable - behind, durable + behind);
      fs.closeSync(fd);
      const { next, upTo = -1 } = await reopened();
      expect(upTo).toBeGreaterThanOrEqual(150);
      await deliverEvents(next, batch(upTo + 1, 205), NEVER);
      await next.close();
      expect(sequences(rolledText(directory))).toEqual(range(101, 205));
    },
  );

  it('a block of NULs discards everything after it', async () => {
    const { durable } = offsets();
    const fd = fs.openSync(file(), 'r+');
    fs.writeSync(fd, Buffer.alloc(512), 0, 512, durable + 1_024);
    fs.closeSync(fd);
    const { next, upTo = -1 } = await reopened();
    await deliverEvents(next, batch(upTo + 1, 205), NEVER);
    await next.close();
    expect(sequences(rolledText(directory))).toEqual(range(101, 205));
  });

  it('a power loss without lost data moves no cursor back', async () => {
    const { next, resume } = await reopened();
    expect(resume?.positions).toEqual([]);
    await next.close();
  });

  it('an emptied file moves the cursor back to before its first row, and no further', async () => {
    fs.truncateSync(file(), 0);
    const { next, upTo } = await reopened();
    expect(upTo).toBe(100);
    await next.close();
  });
});

describe('an fdatasync that fails', () => {
  it('a failed fdatasync makes the file sink truncate and rewrite what may not be durable', async () => {
    let failing = false;
    const disk = {
      ...realDisk,
      datasync: (fd: number) =>
        failing ? Promise.reject(new Error('EIO: i/o error')) : realDisk.datasync(fd),
    };
    const other = path.join(directory, 'other');
    const again = createFileSink(fileConfig(other), dependencies({ disk }).deps);
    await again.open(null);
    const saved = (await deliverEvents(again, batch(1, 5), NEVER)).saved ?? '';
    failing = true;
    await again.tick?.();
    await setImmediate();
    await expect(deliverEvents(again, batch(6, 9), NEVER)).rejects.toThrow(/cannot make durable .*EIO/);
    failing = false;
    const resume = await again.open(saved);
    expect(resume?.positions).toEqual([{ source: 'postern', timeline: 1, upTo: 0, found: [] }]);
    await deliverEvents(again, batch(1, 9), NEVER);
    expect(sequences(rolledText(other))).toEqual(range(1, 9));
    await again.close();
  });

  it("a failed fdatasync does not affect fail2ban's pair, which was already read", async () => {
    const disk = { ...realDisk, datasync: () => Promise.reject(new Error('EIO: i/o error')) };
    const auth = path.join(directory, 'auth');
    const other = createFail2banSink(
      fail2banConfig(auth),
      { never_ban: [], ipv6_prefix: 128 },
      dependencies({ disk }).deps,
    );
    await other.open(null);
    await deliverEvents(other, batch(1, 5), NEVER);
    await other.tick?.();
    await setImmediate();
    await deliverEvents(other, batch(6, 9), NEVER);
    expect(sequences(pairText(auth))).toEqual(range(1, 9));
    await other.close();
  });
});
