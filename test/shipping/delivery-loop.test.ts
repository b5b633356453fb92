import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LoopOptions } from '../../src/shipping/delivery-loop.js';
import { SinkLoop } from '../../src/shipping/delivery-loop.js';
import { Feed } from '../../src/shipping/source-feed.js';
import { State } from '../../src/shipping/state.js';
import type {
  Batch,
  Corrections,
  EventSink,
  OnProgress,
  ResumePosition,
  Sink,
} from '../../src/sinks/sink.js';
import type { AuditSource } from '../../src/source/source.js';
import { event, MemoryTable } from './memory-table.js';

class Recording implements EventSink {
  readonly deliveryClass = 'exactly once';
  readonly encoder = null;
  readonly batches: Batch[] = [];
  resume: Corrections | null = null;
  window: ResumePosition[] = [];
  fail = 0;
  hang = false;
  opened = 0;

  async open(_saved?: string | null, _signal?: AbortSignal): Promise<Corrections | null> {
    this.opened++;
    return this.resume;
  }

  async deliver(batch: Batch, _signal?: AbortSignal, _reached?: OnProgress) {
    if (this.hang) await new Promise(() => undefined);
    if (this.fail-- > 0) throw new Error('refused');
    this.batches.push(batch);
    return { upTo: batch.upTo, saved: `{"at":${batch.upTo}}` };
  }

  undelivered() {
    return this.window;
  }

  async check() {
    return [];
  }

  figures() {
    return {};
  }

  async close() {}

  get ids(): number[] {
    return this.batches.flatMap(({ events }) => events.map(({ sequence }) => sequence));
  }
}

let directory: string;
let state: State;
let loops: SinkLoop[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-loop-'));
  state = new State(directory);
  loops = [];
});

afterEach(async () => {
  vi.useRealTimers();
  rmSync(directory, { recursive: true, force: true });
});

const log = pino({ level: 'silent' });

function feedOf(source: AuditSource): Feed {
  return new Feed({ source, state, clock: Date.now, log, onReplaced: () => undefined, sinks: () => [] });
}

function loopOf(feed: Feed, sink: Sink, config: Partial<LoopOptions['config']> = {}): SinkLoop {
  const loop = new SinkLoop({
    name: 'test',
    config: { type: 'file', events: undefined, required: true, start: 'beginning', ...config },
    sink,
    feeds: [feed],
    state,
    clock: Date.now,
    log,
    random: () => 1,
  });
  loops.push(loop);
  loop.start();
  return loop;
}

const caughtUp = (loop: SinkLoop, id: number) =>
  vi.waitFor(() => expect(loop.status().cursors.postern?.id).toBe(id), { timeout: 60_000 });

describe('a delivery loop', () => {
  it('a delivery loop delivers everything in order and keeps its position across a restart', async () => {
    const table = new MemoryTable(2_500);
    const sink = new Recording();
    const loop = loopOf(feedOf(table), sink);
    await caughtUp(loop, 2_500);
    await loop.stop(1_000);
    table.rows = 2_503;
    const again = loopOf(feedOf(table), sink);
    await caughtUp(again, 2_503);
    await again.stop(1_000);
    expect(sink.ids).toEqual(Array.from({ length: 2_503 }, (_, at) => at + 1));
    expect(state.cursors.sinkState('test')).toBe('{"at":2503}');
  });

  /** Looks of 20 s each by the clock that the watchdog goes by, and what `hung` said before each. */
  function slowTable(rows: number, loop: () => SinkLoop | undefined) {
    const table = new MemoryTable(rows);
    const said = new Set<string | null>();
    const look = table.read.bind(table);
    let ahead = 0;
    const real = performance.now.bind(performance);
    const spy = vi.spyOn(performance, 'now').mockImplementation(() => real() + ahead);
    table.read = (request) => {
      said.add(loop()?.hung() ?? null);
      ahead += 20_000;
      return look(request);
    };
    return { table, said, restore: () => spy.mockRestore() };
  }

  it.each([
    ['at once', (sink: Recording) => sink],
    [
      'after it was down',
      (sink: Recording) => {
        sink.fail = 1;
        return sink;
      },
    ],
  ])(
    'the watchdog sees a loop as healthy while it skips pages that its filter rejects, %s',
    async (_, prepare) => {
      const { table, said, restore } = slowTable(80_000, () => loops[0]);
      const sink = prepare(new Recording());
      // Wanted is the first page, in part, and nothing after it.
      let pages = 0;
      const filter = {
        get action() {
          return pages++ < 200 ? undefined : ['auth.login_failure'];
        },
      };
      const loop = loopOf(feedOf(table), sink, { events: filter as never });
      await caughtUp(loop, 80_000);
      restore();
      expect([...said]).toEqual([null]);
      expect(loop.hung()).toBeNull();
      await loop.stop(1_000);
    },
  );

  it('a loop is healthy while its sink spends a minute on making writes durable', async () => {
    const { said, restore, table } = slowTable(3, () => loops[0]);
    const sink: Recording & { tick?: () => Promise<string | null> } = new Recording();
    let ticks = 0;
    sink.tick = async () => {
      table.read({ after: 0, maxRows: 1 }); // time goes by
      table.read({ after: 0, maxRows: 1 });
      table.read({ after: 0, maxRows: 1 });
      ticks++;
      return null;
    };
    const loop = loopOf(feedOf(table), sink);
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(1), 60_000);
    restore();
    expect([...said]).toEqual([null]);
    await loop.stop(1_000);
  });

  it('a loop ticks as often as its sink requests, and its lag counts from being woken', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const sink = Object.assign(new Recording(), {
      ticks: 0,
      period: 10,
      async tick() {
        this.ticks++;
        return null;
      },
      tickPeriod() {
        return this.period;
      },
    });
    const table = new MemoryTable(3);
    const feed = feedOf(table);
    const loop = loopOf(feed, sink);
    await caughtUp(loop, 3);
    await vi.waitFor(() => expect(sink.ticks).toBeGreaterThan(100), { timeout: 60_000 });
    sink.period = 3_600_000;
    const before = sink.ticks;
    await sleep(300);
    expect(sink.ticks).toBeLessThanOrEqual(before + 1);

    vi.setSystemTime(Date.now() + 1_800_000);
    sink.fail = 1_000_000;
    table.rows = 4;
    feed.readNew();
    expect(loop.status()).toMatchObject({ lag_events: 1, lag_seconds: 0 });
    vi.setSystemTime(Date.now() + 7_000);
    expect(loop.status().lag_seconds).toBeGreaterThanOrEqual(7);
    expect(loop.status().lag_seconds).toBeLessThan(60);
    await loop.stop(10);
  });

  it('a loop moves its cursor within a batch as far as the sink reports', async () => {
    const sink = new Recording();
    let end: (result: { upTo: number }) => void = () => undefined;
    sink.deliver = (_batch: Batch, _signal?: AbortSignal, reached?: OnProgress) => {
      expect(reached?.(4)).toBe(true);
      expect(reached?.(3)).toBe(true); // never back
      return new Promise((resolve) => {
        end = resolve as typeof end;
      });
    };
    const loop = loopOf(feedOf(new MemoryTable(8)), sink);
    await vi.waitFor(() => expect(state.cursors.position('test', 'postern', 1)).toBe(4), 60_000);
    expect(loop.status().cursors.postern?.id).toBe(4);
    end({ upTo: 8 });
    await caughtUp(loop, 8);
    await loop.stop(1_000);
  });

  it('a loop reports to the sink that the cursor could not be saved', async () => {
    const sink = new Recording();
    const said: Array<boolean | undefined> = [];
    sink.deliver = async ({ upTo }: Batch, _signal?: AbortSignal, reached?: OnProgress) => {
      const failing = vi.spyOn(state, 'transaction').mockImplementation(() => {
        throw new Error('disk full');
      });
      said.push(reached?.(4));
      failing.mockRestore();
      return { upTo, saved: '{}' };
    };
    const loop = loopOf(feedOf(new MemoryTable(8)), sink);
    await caughtUp(loop, 8);
    expect(said).toEqual([false]);
    await loop.stop(1_000);
  });

  it('a loop retries rejected rows, and reopens the sink each time', async () => {
    const sink = new Recording();
    sink.fail = 2;
    const loop = loopOf(feedOf(new MemoryTable(5)), sink);
    await caughtUp(loop, 5);
    expect(sink.opened).toBe(3);
    expect(sink.ids).toEqual([1, 2, 3, 4, 5]);
    expect(loop.status().errors_total).toBe(2);
    await loop.stop(1_000);
  });

  it('a sink with start: now skips existing rows, and none after them', async () => {
    const table = new MemoryTable(1_200);
    const sink = new Recording();
    const feed = feedOf(table);
    const loop = loopOf(feed, sink, { start: 'now' });
    await caughtUp(loop, 1_200);
    table.rows = 1_204;
    feed.readNew();
    await caughtUp(loop, 1_204);
    await loop.stop(1_000);
    expect(sink.ids).toEqual([1_201, 1_202, 1_203, 1_204]);
  });

  it('a sink with start: now gets rows written after its start even if it could not be opened yet', async () => {
    const table = new MemoryTable(1_200);
    const sink = new Recording();
    let down = true;
    sink.open = async () => {
      if (down) throw new Error('down');
      return null;
    };
    const feed = feedOf(table);
    const loop = loopOf(feed, sink, { start: 'now' });
    await vi.waitFor(() => expect(loop.status().state).toBe('backing off'), 60_000);
    table.rows = 1_204;
    feed.readNew();
    down = false;
    await caughtUp(loop, 1_204);
    await loop.stop(1_000);
    expect(sink.ids).toEqual([1_201, 1_202, 1_203, 1_204]);
  });

  it('a sink that was never opened still shows its lag', async () => {
    const table = new MemoryTable(8);
    const sink = new Recording();
    const first = loopOf(feedOf(table), sink);
    await caughtUp(first, 8);
    await first.stop(1_000);
    sink.open = async () => {
      throw new Error('down');
    };
    table.rows = 508;
    const feed = feedOf(table);
    const loop = loopOf(feed, sink);
    await vi.waitFor(() => expect(loop.status().state).toBe('backing off'), 60_000);
    feed.readNew();
    const { cursors, lag_events } = loop.status();
    expect(cursors).toEqual({ postern: { timeline: 1, id: 8 } });
    expect(lag_events).toBe(500);
    await vi.waitFor(() => expect(loop.status().lag_seconds).toBeGreaterThan(0), { timeout: 60_000 });
    await loop.stop(0);
  });

  it.each(['missing', 'no_table'] as const)(
    "a sink with start: now that starts before Postern's table exists (%s) gets its first rows",
    async (waiting) => {
      const table = new MemoryTable(3);
      table.waiting = waiting;
      const sink = new Recording();
      const feed = feedOf(table);
      const loop = loopOf(feed, sink, { start: 'now' });
      await vi.waitFor(() => expect(loop.status().state).toBe('waiting for events'), 60_000);
      table.waiting = null; // its first rows come with it, in one transaction
      feed.readNew();
      await caughtUp(loop, 3);
      await loop.stop(1_000);
      expect(sink.ids).toEqual([1, 2, 3]);
    },
  );

  it('a loop does not wait at a stop for a sink that does not open', async () => {
    const sink = new Recording();
    sink.open = async (_saved, signal) => {
      sink.opened++;
      await once(signal as AbortSignal, 'abort');
      throw new Error('broken off');
    };
    const loop = loopOf(feedOf(new MemoryTable(8)), sink);
    await vi.waitFor(() => expect(sink.opened).toBe(1), 60_000);
    await loop.stop(3_000_000); // hangs if it does
    expect(sink.opened).toBe(1);
  });

  it('a sink with start: now that starts while the table is unreadable skips the rows found later', async () => {
    const table = new MemoryTable(3);
    table.waiting = 'unreadable';
    const sink = new Recording();
    const feed = feedOf(table);
    const loop = loopOf(feed, sink, { start: 'now' });
    await vi.waitFor(() => expect(loop.status().state).toBe('waiting for events'), 60_000);
    table.waiting = null;
    feed.readNew();
    await caughtUp(loop, 3);
    await loop.stop(1_000);
    expect(sink.ids).toEqual([]);
  });

  it("a sink with start: now that can't be opened lags by the rows written after its start", async () => {
    const table = new MemoryTable(1_200);
    const sink = new Recording();
    sink.open = async () => {
      throw new Error('down');
    };
    const feed = feedOf(table);
    const loop = loopOf(feed, sink, { start: 'now' });
    await vi.waitFor(() => expect(loop.status().state).toBe('backing off'), 60_000);
    expect(loop.status().lag_events).toBe(0);
    table.rows = 1_204;
    feed.readNew();
    expect(loop.status().lag_events).toBe(4);
    await loop.stop(0);
  });

  it('a sink gets only rows that pass its filter, and its cursor moves past the others', async () => {
    const sink = new Recording();
    const loop = loopOf(feedOf(new MemoryTable(3)), sink, { events: { category: ['auth'] } });
    await caughtUp(loop, 3);
    expect(sink.batches).toEqual([]);
    await loop.stop(1_000);
  });

  it('a sink does not rewrite rows found at the destination after its cursor', async () => {
    const sink = new Recording();
    const found = [1, 2, 3].map((id) => [id, event(id).id] as const);
    sink.resume = { saved: '{}', positions: [{ source: 'postern', timeline: 1, upTo: 3, found }] };
    const loop = loopOf(feedOf(new MemoryTable(5)), sink);
    await caughtUp(loop, 5);
    expect(sink.ids).toEqual([4, 5]);
    await loop.stop(1_000);
  });

  it('a cursor moves back to the end of the destination', async () => {
    const sink = new Recording();
    const first = loopOf(feedOf(new MemoryTable(8)), sink);
    await caughtUp(first, 8);
    await first.stop(1_000);
    sink.batches.length = 0;
    sink.resume = { saved: '{}', positions: [{ source: 'postern', timeline: 1, upTo: 6, found: [] }] };
    const loop = loopOf(feedOf(new MemoryTable(8)), sink);
    await vi.waitFor(() => expect(sink.ids).toEqual([7, 8]), 60_000);
    await loop.stop(1_000);
  });

  it('a sink that hangs in a delivery is named after its time limit and the grace period', async () => {
    const sink = new Recording();
    sink.hang = true;
    const loop = loopOf(feedOf(new MemoryTable(1)), sink);
    await vi.waitFor(() => expect(loop.status().state).toBe('delivering'), 60_000);
    expect(loop.hung()).toBeNull();
    const now = performance.now();
    vi.spyOn(performance, 'now').mockReturnValue(now + 91_000);
    expect(loop.hung()).toMatch(/sink test: delivering/);
    vi.restoreAllMocks();
  });

  it('a sink that hangs does not delay the others', async () => {
    const feed = feedOf(new MemoryTable(4));
    const hanging = new Recording();
    hanging.hang = true;
    loopOf(feed, hanging);
    const sink = new Recording();
    const loop = new SinkLoop({
      name: 'other',
      config: { type: 'file', events: undefined, required: true, start: 'beginning' },
      sink,
      feeds: [feed],
      state,
      clock: Date.now,
      log,
    });
    loop.start();
    await vi.waitFor(() => expect(sink.ids).toEqual([1, 2, 3, 4]), 60_000);
    await loop.stop(1_000);
  });
});

describe('two sinks in one backlog, one slower than the other', () => {
  it('two sinks in one backlog share each page, even if one is slower', async () => {
    const table = new MemoryTable(20_000);
    const look = vi.spyOn(table, 'read');
    const feed = feedOf(table);
    const slow = new Recording();
    const record = slow.deliver.bind(slow);
    slow.deliver = async (batch) => {
      for (let turn = 0; turn < 6; turn++) await setImmediate();
      return record(batch);
    };
    const sinks = [new Recording(), slow];
    const both = sinks.map(
      (sink, at) =>
        new SinkLoop({
          name: `sink ${at}`,
          config: { type: 'file', events: undefined, required: true, start: 'beginning' },
          sink,
          feeds: [feed],
          state,
          clock: Date.now,
          log,
        }),
    );
    for (const loop of both) loop.start();
    for (const loop of both) await caughtUp(loop, 20_000);
    for (const loop of both) await loop.stop(1_000);
    for (const { ids } of sinks) expect(ids).toEqual(Array.from({ length: 20_000 }, (_, at) => at + 1));
    const read = look.mock.calls.filter(([{ after }]) => after < 20_000);
    expect(read.length).toBe(new Set(read.map(([{ after }]) => after)).size);
  });
});

describe('the rows that a sink holds back from retention', () => {
  const heldFrom = (loop: SinkLoop) => loop.status().held_from.postern;

  it("rows held back from retention begin after the sink's cursor, even while it can't be opened", async () => {
    const feed = feedOf(new MemoryTable(8));
    const sink = new Recording();
    const first = loopOf(feed, sink);
    await caughtUp(first, 8);
    expect(heldFrom(first)).toBe(9);
    await first.stop(1_000);
    sink.open = async () => {
      throw new Error('down');
    };
    const loop = loopOf(feed, sink);
    await vi.waitFor(() => expect(loop.status().state).toBe('backing off'), 60_000);
    expect(heldFrom(loop)).toBe(9);
    await loop.stop(0);
  });

  it('a sink holds back all rows before its first delivery', async () => {
    const feed = feedOf(new MemoryTable(8));
    feed.readNew();
    const sink = new Recording();
    sink.fail = 1_000;
    const loop = loopOf(feed, sink);
    await vi.waitFor(() => expect(loop.status().state).toBe('backing off'), 60_000);
    expect(heldFrom(loop)).toBe(1);
    await loop.stop(0);
  });

  it('a sink does not hold back rows before its start', async () => {
    const table = new MemoryTable(1_200);
    const feed = feedOf(table);
    const sink = new Recording();
    sink.fail = 1_000;
    const loop = loopOf(feed, sink, { start: 'now' });
    await caughtUp(loop, 1_200);
    table.rows = 1_204;
    feed.readNew();
    await vi.waitFor(() => expect(loop.status().state).toBe('backing off'), 60_000);
    expect(heldFrom(loop)).toBe(1_201);
    await loop.stop(0);
  });

  it.each<[string, ResumePosition[], number]>([
    ['of this timeline', [{ source: 'postern', timeline: 1, upTo: 3, found: [] }], 4],
    [
      'of an earlier one: the table is walked again',
      [{ source: 'postern', timeline: 0, upTo: 3, found: [] }],
      1,
    ],
    ['of another source', [{ source: 'auditd', timeline: 1, upTo: 3, found: [] }], 9],
  ])("rows held back from retention begin at the sink's window: %s", async (_, window, expected) => {
    const sink = new Recording();
    sink.window = window;
    const loop = loopOf(feedOf(new MemoryTable(8)), sink);
    await caughtUp(loop, 8);
    expect(heldFrom(loop)).toBe(expected);
    await loop.stop(1_000);
  });
});
