import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { copyEvent } from '../../src/audit/event.js';
import { config } from '../../src/config/schema.js';
import { Shipper } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import type { AuditSource, ReadRequest, ReadResult } from '../../src/source/source.js';
import { readBy } from '../support/deliver.js';
import { MemoryTable } from './memory-table.js';
import { MemorySink } from './shipping-fixture.js';

/** A table in whose place another one can be put: who has read the one before is told so. */
class Replaceable implements AuditSource {
  readonly name = 'postern';
  looks = 0;
  private history = 1;
  private table = new MemoryTable(3);
  private readonly woken = new Set<() => void>();

  read(request: ReadRequest): ReadResult {
    this.looks++;
    if (request.mark.id > 0 && request.mark.timeline < this.history)
      return { state: 'replaced', reason: 'row 3 is not the one that was read' };
    const { consumer, ...rest } = request;
    const look = this.table.read(rest);
    if (look.state !== 'reading') return look;
    const other = (id: string) => `${this.history}${id.slice(1)}`;
    const events = look.events.map((event) => copyEvent(event, { id: other(event.id) }));
    return readBy(consumer, events, look);
  }

  row() {
    return null;
  }

  watch(onWake: () => void) {
    this.woken.add(onWake);
    return { close: () => this.woken.delete(onWake) };
  }

  wake(): void {
    for (const wake of this.woken) wake();
  }

  append(): void {
    this.table.rows++;
    this.wake();
  }

  replace(rows: number): void {
    this.history++;
    this.table = new MemoryTable(rows);
  }
}

const log = pino({ level: 'silent' });
let directory: string;
let state: State;
let source: Replaceable;
let sink: MemorySink;
let running: Shipper | null;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-handover-'));
  state = new State(directory);
  source = new Replaceable();
  sink = new MemorySink();
  running = null;
});

afterEach(async () => {
  vi.restoreAllMocks();
  await running?.stop();
  state.close();
  rmSync(directory, { recursive: true, force: true });
});

function shipper(): Shipper {
  return new Shipper({
    sources: [source],
    sinks: [{ name: 'audit', sink, config: { ...config.parse({}).sinks.audit, type: 'file' } as never }],
    state,
    clock: Date.now,
    log,
    onReplaced: () => undefined,
  });
}

async function start(next: Shipper): Promise<void> {
  await next.start();
  running = next;
  source.wake();
}

const shipped = (count: number) => vi.waitFor(() => expect(sink.got.length).toBe(count), { timeout: 20_000 });
const timelines = () => state.db.prepare('SELECT count(*) FROM timeline').pluck().get();

describe('a database replaced during a reload', () => {
  test('a database replaced during a reload, and noticed by the stopping shipper: the next one continues its timeline', async () => {
    const old = shipper();
    await start(old);
    await shipped(3);
    const next = shipper(); // made before the old one is stopped: what it can't be made of is refused
    source.replace(5);
    source.wake();
    await vi.waitFor(() => expect(timelines()).toBe(2), 60_000);
    await old.stop();
    await start(next);
    source.append();
    await shipped(9);
    expect(timelines()).toBe(2);
  });

  test('a database replaced during a reload, and noticed at the very end: the next shipper begins the timeline, once', async () => {
    const old = shipper();
    await start(old);
    await shipped(3);
    const next = shipper();
    source.replace(5);
    source.wake();
    await old.stop();
    await start(next);
    await shipped(8);
    expect(timelines()).toBe(2);
  });
});

test('rows whose fingerprints could not be saved at the stop are not taken for new ones', async () => {
  const old = shipper();
  await start(old);
  await shipped(3);
  const [first, second] = [4, 5].map((sequence) => ({ sequence, id: `${sequence}`.repeat(32) }));
  if (first === undefined || second === undefined) throw new Error('no rows');
  state.fingerprints.record('postern', 1, [first, second]);
  expect(state.mark('postern')).toEqual({ timeline: 1, id: 5, fingerprint: '5'.repeat(16) });
  expect(state.timelines.current('postern')?.id).toBe(3);
});

describe("a timeline that can't start on a full disk", () => {
  const full = () =>
    vi.spyOn(state, 'transaction').mockImplementation(() => {
      throw new Error('database or disk is full');
    });

  /** The work runs to its end, and then the commit finds no room. */
  const noCommit = () => {
    const begin = vi.spyOn(state.timelines, 'begin');
    const whole = state.transaction.bind(state);
    return vi.spyOn(state, 'transaction').mockImplementation((work) =>
      whole(() => {
        const before = begin.mock.calls.length;
        const result = work();
        if (begin.mock.calls.length > before) throw new Error('database or disk is full');
        return result;
      }),
    );
  };

  test('beginning a timeline on a full disk is retried each second, without blocking the process', async () => {
    await start(shipper());
    await shipped(3);
    const failing = full();
    source.replace(5);
    source.looks = 0;
    source.wake();
    await sleep(700);
    expect(source.looks).toBeLessThan(5);
    expect(running?.status().sources.postern?.message).toMatch(/timeline 2 failed: database or disk is full/);
    failing.mockRestore();
    await shipped(8);
    expect(timelines()).toBe(2);
  });

  test('a failed commit of a new timeline leaves the feed where it was', async () => {
    await start(shipper());
    await shipped(3);
    const failing = noCommit();
    source.replace(5);
    source.wake();
    await vi.waitFor(() => expect(running?.status().sources.postern?.state).toBe('failed'), 60_000);
    expect(running?.status().sources.postern?.timeline).toBe(1);
    failing.mockRestore();
    await shipped(8);
    expect(state.timelines.current('postern')?.timeline).toBe(2);
  });

  test('a failed commit of a continued numbering leaves the feed where it was', async () => {
    sink.positions = [{ source: 'postern', timeline: 4, upTo: 0, found: [] }];
    const failing = noCommit();
    await start(shipper());
    expect(state.timelines.begin).toHaveBeenCalledWith('postern', 4, 'state.db was rebuilt');
    expect(running?.status().sources.postern?.timeline).toBe(1);
    failing.mockRestore();
    await shipped(3);
    expect(state.timelines.current('postern')?.timeline).toBe(4);
  });
});
