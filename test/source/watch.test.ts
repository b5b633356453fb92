import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { HighWaterMark } from '../../src/source/source.js';
import {
  markAt,
  openSource,
  type Reading,
  request,
  START,
  TABLE,
  temporaryDirectory,
  Writer,
} from './postern-fixture.js';

const NEVER = '1h';

async function postern(
  pollInterval = NEVER,
): Promise<{ home: string; database: string; writer: Writer; reading: Reading }> {
  const home = temporaryDirectory(onTestFinished);
  const database = join(home, 'posternproxy.db');
  const writer = new Writer(database);
  onTestFinished(() => writer.kill());
  await writer.open();
  await writer.exec(TABLE);
  return {
    home,
    database,
    writer,
    reading: openSource(database, { source: { poll_interval: pollInterval } }),
  };
}

/** Follows as the shipping loop does. */
class Follower {
  mark: HighWaterMark = START;
  readonly ids: number[] = [];
  readonly states: string[] = [];
  looks = 0;
  private readonly watching: { close(): void };

  constructor(private readonly source: Reading['source']) {
    this.watching = source.watch(() => this.look());
    onTestFinished(() => this.close());
  }

  close(): void {
    this.watching.close();
  }

  private look(): boolean {
    this.looks++;
    const look = this.source.read(request(this.mark));
    if (this.states.at(-1) !== look.state) this.states.push(look.state);
    if (look.state !== 'reading') return false;
    for (const event of look.events) {
      this.ids.push(event.sequence);
      this.mark = markAt(event);
    }
    return look.events.length > 0;
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, at) => at + 1);

describe('watching the directory', () => {
  test.each(['NORMAL', 'FULL'])(
    'each of 300 commits is noticed without a poll, synchronous=%s',
    async (synchronous) => {
      const { writer, reading } = await postern();
      await writer.exec(`PRAGMA synchronous = ${synchronous}`);
      const follower = new Follower(reading.source);
      for (let at = 0; at < 300; at++) {
        await writer.insert(1);
        if (at % 50 === 0) await sleep(100);
      }
      if (synchronous === 'FULL') {
        // The last one's fsync may take longer than the ladder; without a poll the next commit finds it.
        await sleep(1_000);
        await writer.insert(1);
      }
      const last = synchronous === 'FULL' ? 301 : 300;
      await vi.waitFor(() => expect(follower.ids).toEqual(upTo(last)), { timeout: 60_000 });
    },
  );

  test('a stream of commits faster than the schedule does not postpone reading', async () => {
    const { writer, reading } = await postern();
    const follower = new Follower(reading.source);
    await sleep(200);
    // A busy machine gets three tries: it may leave this process without a processor at the end of a flood.
    let [before, last, midway] = [0, 0, 0];
    for (let tries = 0; tries < 3 && midway <= (last - before) / 2; tries++) {
      before = last;
      last = Number(await writer.ask('flood', { ms: 1_500 }));
      midway = follower.ids.length - before;
      await vi.waitFor(() => expect(follower.ids).toEqual(upTo(last)), { timeout: 60_000 });
    }
    expect(midway).toBeGreaterThan((last - before) / 2);
  });

  test('the watcher stops reading without changes', async () => {
    const { writer, reading } = await postern();
    const follower = new Follower(reading.source);
    await writer.insert(3);
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2, 3]), 60_000);
    await sleep(1_500);
    const looks = follower.looks;
    await sleep(1_500);
    expect(follower.looks - looks).toBeLessThanOrEqual(1);
  });

  test('polls read only where stat shows a change', async () => {
    const { writer, reading } = await postern('20ms');
    const follower = new Follower(reading.source);
    await writer.insert(3);
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2, 3]), 60_000);
    await sleep(1_200);
    const looks = follower.looks;
    await sleep(1_000);
    expect(follower.looks - looks).toBeLessThanOrEqual(1);
    await writer.insert(1);
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2, 3, 4]), 60_000);
  });

  test('the watcher rereads for five polls after a change, because a disk may be slow to sync', async () => {
    const { writer, reading } = await postern('400ms');
    const follower = new Follower(reading.source);
    await writer.insert(1);
    await vi.waitFor(() => expect(follower.ids).toEqual([1]), 60_000);
    await sleep(700); // the ladder's end
    const looks = follower.looks;
    await vi.waitFor(() => expect(follower.looks).toBeGreaterThan(looks), { timeout: 10_000 });
    await sleep(2_500);
    const atRest = follower.looks;
    await sleep(1_500);
    expect(follower.looks - atRest).toBeLessThanOrEqual(1);
  });

  test('other files in the directory cause no read', async () => {
    const { home, reading } = await postern('20ms');
    const follower = new Follower(reading.source);
    await sleep(1_200);
    const looks = follower.looks;
    for (let at = 0; at < 20; at++) writeFileSync(join(home, `other-${at}`), 'x');
    await sleep(200);
    expect(follower.looks).toBe(looks);
  });

  test('a new -wal is noticed after the writer restarts', async () => {
    const { database, writer, reading } = await postern();
    const follower = new Follower(reading.source);
    await writer.insert(2);
    await writer.stop();
    await sleep(200);
    const again = new Writer(database);
    onTestFinished(() => again.kill());
    await again.open();
    await again.insert(2);
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2, 3, 4]), { timeout: 60_000 });
  });
});

describe('polling', () => {
  test('a directory created later is found by polling, and then watched', async () => {
    const home = temporaryDirectory(onTestFinished);
    const database = join(home, 'later', 'posternproxy.db');
    const { source } = openSource(database, { source: { poll_interval: '50ms' } });
    const follower = new Follower(source);
    await sleep(150);
    expect(follower.states).toEqual(['missing']);
    mkdirSync(join(home, 'later'));
    const writer = new Writer(database);
    onTestFinished(() => writer.kill());
    await writer.open();
    await writer.exec(TABLE);
    await writer.insert(2);
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2]), { timeout: 60_000 });
  });

  test('a replaced directory is watched again', async () => {
    const { home, database, writer, reading } = await postern('50ms');
    const follower = new Follower(reading.source);
    await writer.insert(1);
    await vi.waitFor(() => expect(follower.ids).toEqual([1]), 60_000);
    await writer.stop();
    renameSync(home, `${home}.old`);
    onTestFinished(() => rmSync(`${home}.old`, { recursive: true, force: true }));
    await vi.waitFor(() => expect(follower.states.at(-1)).toBe('missing'), { timeout: 60_000 });
    // With the -wal, which stays if a look had the database open just as its writer closed it.
    cpSync(`${home}.old`, home, { recursive: true, preserveTimestamps: true });
    const again = new Writer(database);
    onTestFinished(() => again.kill());
    await again.open();
    await again.insert(1);
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2]), { timeout: 60_000 });
  });

  test('the last rows of a stopping Postern are read without another change', async () => {
    const { writer, reading } = await postern('50ms');
    const follower = new Follower(reading.source);
    await sleep(100);
    await writer.insert(4);
    await writer.stop();
    await vi.waitFor(() => expect(follower.ids).toEqual([1, 2, 3, 4]), { timeout: 60_000 });
  });

  test('the watcher never calls back after close', async () => {
    const { writer, reading } = await postern('10ms');
    const follower = new Follower(reading.source);
    await sleep(50);
    follower.close();
    const { looks } = follower;
    await writer.insert(1);
    await sleep(150);
    expect(follower.looks).toBe(looks);
  });
});
