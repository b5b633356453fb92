import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Feed, type Follower } from '../../src/shipping/feed.js';
import { State } from '../../src/shipping/state.js';
import { MemoryTable } from './memory-table.js';

/** A loop whose every step the test takes. */
class Loop implements Follower {
  at = 0;
  busy = false;
  woken = 0;

  wake(): void {
    this.woken++;
  }

  idle(): boolean {
    return !this.busy;
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

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-feed-'));
  state = new State(directory);
  table = new MemoryTable(0);
  feed = new Feed({
    source: table,
    state,
    clock: Date.now,
    log: pino({ level: 'silent' }),
    onReplaced: () => undefined,
    sinks: () => [],
  });
  fast = new Loop();
  slow = new Loop();
  feed.follow(fast);
  feed.follow(slow);
});

afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true, force: true });
});

function insert(): void {
  table.rows++;
}

describe('nobody sleeps over a row', () => {
  test('a row that a busy loop reads by itself wakes the one that has looked already', () => {
    insert();
    expect(feed.wake()).toBe(true);
    fast.at = 1;
    slow.busy = true;
    expect(feed.page(1)).toBeNull(); // the fast one has all there is, and rests
    insert();
    fast.woken = 0;
    expect(feed.page(1)?.upTo).toBe(2); // the slow one goes on, before the change was told
    feed.wake();
    expect(fast.woken).toBeGreaterThan(0);
  });

  test('a change that comes while all are busy is told to them: one may have looked just before', () => {
    insert();
    feed.wake();
    fast.at = 1;
    fast.busy = true;
    slow.busy = true;
    expect(feed.page(1)).toBeNull();
    insert();
    fast.woken = 0;
    slow.woken = 0;
    feed.wake();
    expect([fast.woken > 0, slow.woken > 0]).toEqual([true, true]);
  });

  test('a look that finds nothing wakes nobody', () => {
    insert();
    feed.wake();
    fast.woken = 0;
    expect(feed.wake()).toBe(false);
    expect(fast.woken).toBe(0);
  });
});
