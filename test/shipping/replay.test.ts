import { describe, expect, it } from 'vitest';
import { bound, replayProgress, requestOf } from '../../src/commands/replay.js';
import { parseReplay, Replay, type ReplayRequest } from '../../src/shipping/replay.js';
import type { Batch, EventSink } from '../../src/sinks/sink.js';
import { event, MemoryTable } from './memory-table.js';

const all: ReplayRequest = {
  source: 'postern',
  fromId: null,
  toId: null,
  fromTime: null,
  toTime: null,
  rate: null,
};

function sinkOf(deliver: (batch: Batch) => number): EventSink {
  return {
    deliveryClass: 'best effort',
    encoder: null,
    open: async () => null,
    deliver: async (batch) => ({ upTo: deliver(batch) }),
    check: async () => [],
    figures: () => ({}),
    close: async () => undefined,
  };
}

async function run(
  request: Partial<ReplayRequest>,
  rows = 1_000,
): Promise<{ ids: number[]; replay: Replay }> {
  const ids: number[] = [];
  const replay = new Replay(new MemoryTable(rows), { ...all, ...request }, 1, rows, () => true);
  const sink = sinkOf((batch) => {
    expect(batch.replay).toBe(true);
    ids.push(...batch.events.map(({ sequence }) => sequence));
    return batch.upTo;
  });
  const { signal } = new AbortController();
  for (let turn = 0; replay.status.state === 'running' && turn < 1_000; turn++)
    await replay.slice(sink, signal);
  return { ids, replay };
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

describe('a replay', () => {
  it('a replay sends every row once and in order', async () => {
    const { ids, replay } = await run({});
    expect(ids).toEqual(range(1, 1_000));
    expect(replay.status).toEqual({ state: 'done', sent: 1_000, at: 1_000, to: 1_000, error: null });
  });

  it('a replay sends the rows between its ids, both inclusive', async () => {
    expect((await run({ fromId: 5, toId: 405 })).ids).toEqual(range(5, 405));
  });

  it('a replay sends the rows between its times, the start inclusive and the end exclusive', async () => {
    const { time } = event(10);
    expect((await run({ fromTime: time, toTime: event(20).time })).ids).toEqual(range(10, 19));
  });

  it('a replay of missing rows sends nothing', async () => {
    expect((await run({ fromId: 2_000 })).replay.status.state).toBe('done');
  });

  it('a replay continues after the part of a batch that a sink accepted', async () => {
    const ids: number[] = [];
    const replay = new Replay(new MemoryTable(300), all, 1, 300, () => true);
    const sink = sinkOf(({ events }) => {
      const taken = events.slice(0, 70);
      ids.push(...taken.map(({ sequence }) => sequence));
      return taken.at(-1)?.sequence ?? 0;
    });
    const { signal } = new AbortController();
    while (replay.status.state === 'running') await replay.slice(sink, signal);
    expect(ids).toEqual(range(1, 300));
    expect(replay.status.sent).toBe(300);
  });

  it('a replay reports where it was aborted', async () => {
    const replay = new Replay(new MemoryTable(500), all, 1, 500, () => true);
    let turns = 0;
    const sink = sinkOf((batch) => {
      if (++turns > 1) throw new Error('refused');
      return batch.upTo;
    });
    const { signal } = new AbortController();
    await replay.slice(sink, signal);
    await expect(replay.slice(sink, signal)).rejects.toThrow('refused');
    expect(replay.status).toEqual({ state: 'failed', sent: 200, at: 200, to: 500, error: 'refused' });
  });

  it('a replay sends nothing before its rate allows it', async () => {
    const replay = new Replay(new MemoryTable(500), { ...all, rate: 0.001 }, 1, 500, () => true);
    const sent = await replay.slice(
      sinkOf((batch) => batch.upTo),
      new AbortController().signal,
    );
    expect(sent).toBe(false);
    expect(replay.status.sent).toBe(0);
  });
});

describe('the request of a replay', () => {
  it.each([
    [{}, /sink/],
    [{ sink: 'siem', source: 'other' }, /source/],
    [{ sink: 'siem', fromId: 'x' }, /fromId/],
    [{ sink: 'siem', rate: 0 }, /rate/],
  ])('a replay request with %j is rejected with the name of the field', (body, message) => {
    expect(() => parseReplay(body)).toThrow(message);
  });

  it('a replay range on the command line is an id or a date', () => {
    expect(bound('4711')).toEqual({ id: 4711 });
    expect(bound('2026-11-01')).toEqual({ time: Date.UTC(2026, 10, 1) });
    expect(bound('2026-11-01T08:00Z')).toEqual({ time: Date.UTC(2026, 10, 1, 8) });
    for (const bad of ['', 'yesterday', '-5', '2026-13-45'])
      expect(() => bound(bad)).toThrow(/row id, or a date/);
    expect(parseReplay(requestOf('siem', { from: { id: 3 }, to: { time: 9 }, source: 'postern' }))).toEqual({
      ...all,
      sink: 'siem',
      fromId: 3,
      toTime: 9,
    });
  });

  it('a replay shows a progress bar', () => {
    expect(replayProgress({ at: 50, to: 100, sent: 7 })).toBe(
      `[${'#'.repeat(15)}${'.'.repeat(15)}] 50 %, 7 events`,
    );
  });
});
