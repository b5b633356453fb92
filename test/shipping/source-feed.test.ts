import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { sinkInput } from '../../src/shipping/page-collector.js';
import { Feed } from '../../src/shipping/source-feed.js';
import { State } from '../../src/shipping/state.js';
import type { FeedSubscriber } from '../../src/shipping/subscribers.js';
import { MemoryTable } from './memory-table.js';

/** A loop whose every step the test takes. */
class Loop implements FeedSubscriber {
  readonly input = sinkInput(null, undefined);
  at = 0;
  busy = false;
  down = false;
  woken = 0;

  wake(): void {
    this.woken++;
  }

  idle(): boolean {
    return !this.busy && !this.down;
  }

  delivering(): boolean {
    return this.busy;
  }

  cursor(): number {
    return this.at;
  }
}

let directory: string;
let state: State;
let table: MemoryTable;
let feed: Feed;
let fast: Loop;
let slow: Loop;
let live: number[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-feed-'));
  state = new State(directory);
  table = new MemoryTable(0);
  live = [];
  feed = new Feed({
    source: table,
    state,
    clock: Date.now,
    log: pino({ level: 'silent' }),
    onReplaced: () => undefined,
    sinks: () => [],
    onLive: (events) => live.push(...events.map(({ sequence }) => sequence)),
  });
  fast = new Loop();
  slow = new Loop();
  feed.subscribe(fast);
  feed.subscribe(slow);
});

afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true, force: true });
});

function insert(): void {
  table.rows++;
}

describe('no loop misses a row', () => {
  test('a row read by a busy loop wakes a loop that is already waiting', () => {
    insert();
    expect(feed.readNew()).toBe(true);
    fast.at = 1;
    slow.busy = true;
    expect(feed.read(1, fast.input)).toBeNull(); // the fast one has all there is, and rests
    insert();
    fast.woken = 0;
    expect(feed.read(1, fast.input)?.upTo).toBe(2); // the slow one goes on, before the change was told
    feed.readNew();
    expect(fast.woken).toBeGreaterThan(0);
  });

  test('a change while all loops are busy is signalled to them, because one may have just read', () => {
    insert();
    feed.readNew();
    fast.at = 1;
    fast.busy = true;
    slow.busy = true;
    expect(feed.read(1, fast.input)).toBeNull();
    insert();
    fast.woken = 0;
    slow.woken = 0;
    feed.readNew();
    expect([fast.woken > 0, slow.woken > 0]).toEqual([true, true]);
  });

  test('a read without rows wakes no loop', () => {
    insert();
    feed.readNew();
    fast.woken = 0;
    expect(feed.readNew()).toBe(false);
    expect(fast.woken).toBe(0);
  });
});

describe('the live view', () => {
  test('the live view shows the first row of a table', () => {
    expect(feed.readNew()).toBe(false);
    insert();
    feed.readNew();
    expect(live).toEqual([1]);
  });

  test('the live view shows no rows of a backup restored into an empty table', () => {
    feed.readNew();
    table.rows = 10_000;
    while (feed.readNew()) fast.at = slow.at = feed.mark.id;
    insert();
    feed.readNew();
    expect(live).toEqual([10_001]);
  });

  test('the live view shows no rows that existed before', () => {
    insert();
    insert();
    feed.readNew();
    insert();
    feed.readNew();
    expect(live).toEqual([3]);
  });
});

describe('while all sinks are down', () => {
  test('while all sinks are down, the table is read for the lag and the live view', () => {
    fast.down = true;
    slow.down = true;
    insert();
    feed.readNew(); // what is there at the first look is not news
    for (let row = 2; row <= 4; row++) {
      insert();
      feed.readNew();
      expect(feed.status.maxId).toBe(row);
    }
    expect(live).toEqual([2, 3, 4]);
    expect(state.timelines.current('postern')?.id).toBe(3); // what was read before is not kept in memory
  });

  test('while all sinks are down, the table is read only as far as state.db can record it', () => {
    fast.down = true;
    slow.down = true;
    insert();
    feed.readNew();
    const full = vi.spyOn(state, 'transaction').mockImplementation(() => {
      throw new Error('database or disk is full');
    });
    insert();
    expect(feed.readNew()).toBe(false);
    expect(feed.mark.id).toBe(1);
    full.mockRestore();
    expect(feed.readNew()).toBe(true);
  });
});
