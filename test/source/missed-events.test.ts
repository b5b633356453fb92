import { mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { markAt, openSource, request, START, TABLE, temporaryDirectory, Writer } from './postern-fixture.js';

/** A watch that can be had and never tells of anything, as on a network's file system. */
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  return { ...fs, watch: () => ({ on: () => undefined, close: () => undefined }) };
});

/** Less than the 30 s after which a table is read in any case. */
const SOON = { timeout: 20_000 };

async function databaseIn(directory: string): Promise<Writer> {
  mkdirSync(directory);
  const writer = new Writer(join(directory, 'posternproxy.db'));
  onTestFinished(() => writer.kill());
  await writer.open();
  await writer.exec(TABLE);
  return writer;
}

test('rows without an event are read at the next poll, even after a link was retargeted', async () => {
  const home = temporaryDirectory(onTestFinished);
  const first = await databaseIn(join(home, 'first'));
  const second = await databaseIn(join(home, 'second'));
  const link = join(home, 'link');
  symlinkSync('first', link);
  const { source } = openSource(join(link, 'posternproxy.db'), { source: { poll_interval: '50ms' } });
  const ids: number[] = [];
  let mark = START;
  let reason = '';
  const watching = source.watch(() => {
    const look = source.read(request(mark));
    if (look.state === 'replaced') {
      reason = look.reason;
      mark = START;
    }
    if (look.state !== 'reading') return false;
    for (const event of look.events) {
      ids.push(event.sequence);
      mark = markAt(event);
    }
    return look.events.length > 0;
  });
  onTestFinished(() => watching.close());
  for (const count of [1, 2, 3]) {
    await first.insert(1);
    await vi.waitFor(() => expect(ids).toHaveLength(count), SOON);
  }
  await second.insert(1);
  symlinkSync('second', `${link}.new`);
  renameSync(`${link}.new`, link);
  await vi.waitFor(() => expect(ids).toEqual([1, 2, 3, 1]), SOON);
  expect(reason).not.toBe('');
  await second.insert(1);
  await vi.waitFor(() => expect(ids).toEqual([1, 2, 3, 1, 2]), SOON);
});
