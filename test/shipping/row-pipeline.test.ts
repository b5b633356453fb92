import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { EventsFilter } from '../../src/config/schema.js';
import { fileSink } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { type ConfiguredSink, Shipper, type ShipperOptions } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import { createFileSink } from '../../src/sinks/files/file-sink.js';
import { MemoryPool, messageAt } from '../../src/sinks/messages.js';
import type { Delivered, MessageBatch, MessageSink } from '../../src/sinks/sink.js';
import type { PosternSourceOptions } from '../../src/source/postern-source.js';
import { openSource, TABLE, temporaryDirectory } from '../source/postern-fixture.js';

const log = pino({ level: 'silent' });
const clock = Date.now;

/** A table, the state and a shipper over the real source. */
function rig(options: Partial<Pick<PosternSourceOptions, 'classify'>> = {}) {
  const directory = temporaryDirectory(onTestFinished);
  const database = join(directory, 'posternproxy.db');
  const db = new Database(database);
  db.pragma('journal_mode = WAL');
  db.exec(TABLE);
  const state = new State(join(directory, 'state'));
  const { source } = openSource(database, {
    clock,
    classify: createClassifier(),
    history: state.historyOf('postern'),
    sourceId: state.sourceId,
    ...options,
  });
  const ship = async (sinks: readonly ConfiguredSink[], more: Partial<ShipperOptions> = {}) => {
    const shipper = new Shipper({
      sources: [source],
      sinks,
      state,
      clock,
      log,
      onReplaced: () => undefined,
      ...more,
    });
    await shipper.start();
    onTestFinished(async () => {
      await shipper.stop();
      state.close();
      db.close();
    });
    return shipper;
  };
  return { directory, database, db, state, ship };
}

function fileSinkIn(directory: string): { sink: ConfiguredSink; sequences: () => number[] } {
  const config = fileSink.parse({ type: 'file', directory: join(directory, 'audit'), roll: { size: '1G' } });
  const sink = createFileSink(config, { name: 'audit', clock, minFree: 0, log });
  const sequences = () =>
    readdirSync(config.directory)
      .filter((name) => /^audit\.\d+\.log$/.test(name))
      .flatMap((name) => readFileSync(join(config.directory, name), 'utf8').split('\n'))
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { event: { sequence: number } }).event.sequence);
  return { sink: { name: 'audit', config, sink }, sequences };
}

it('rows of a discarded read are written once if the retry finds the database locked', async () => {
  const classify = createClassifier();
  let onRow: () => void = () => undefined;
  const table = rig({
    classify: (action, resourceType) => {
      onRow();
      return classify(action, resourceType);
    },
  });
  const { db, database, directory } = table;
  const insert = db.prepare(
    "INSERT INTO audit_log (created_at, action) VALUES ('2026-11-01 00:00:00', 'update')",
  );
  for (let n = 0; n < 10; n++) insert.run();
  const { sink, sequences } = fileSinkIn(directory);
  await table.ship([sink]);
  await expect.poll(sequences).toHaveLength(10);
  for (let n = 0; n < 3; n++) insert.run();
  const other = join(directory, 'other.db');
  db.exec(`VACUUM INTO '${other}'`);
  let locker: Database | null = null;
  insert.run(); // not in the other one
  onRow = () => {
    if (locker !== null) return;
    renameSync(other, database);
    locker = new Database(database);
    locker.pragma('journal_mode = DELETE');
    locker.exec('BEGIN EXCLUSIVE');
  };
  await expect.poll(() => locker).not.toBeNull();
  await sleep(1_500);
  (locker as Database | null)?.exec('ROLLBACK');
  await expect.poll(() => sequences().includes(13)).toBe(true);
  await sleep(1_500);
  const all = sequences().filter((sequence) => sequence !== 14);
  expect(all).toEqual(Array.from({ length: 13 }, (_, at) => at + 1));
});

it('the newest thousand rows are watched for edits after a gap in the ids, and after a backlog', async () => {
  const { db, state, directory, ship } = rig();
  const insert = db.prepare(
    "INSERT INTO audit_log (id, created_at, action) VALUES (?, '2026-11-01 00:00:00', 'update')",
  );
  db.transaction(() => {
    for (let id = 1; id <= 9_000; id++) insert.run(id);
    for (let id = 200_001; id <= 200_050; id++) insert.run(id);
  })();
  const { sink, sequences } = fileSinkIn(directory);
  let revised = 0;
  await ship([sink], { onRevised: () => revised++, editsMs: 50 });
  await expect.poll(() => sequences().length).toBe(9_050);
  await expect.poll(() => state.recent.of('postern', 1).length).toBe(1_000);
  db.exec("UPDATE audit_log SET action = 'delete' WHERE id = 8500");
  await expect.poll(() => revised).toBeGreaterThan(0);
});

/** Repeatable numbers below n (mulberry32). */
function randomFrom(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

/** A sink that fails, delivers parts, and reads slowly the bytes that it was given. */
class UnsteadySink implements MessageSink {
  readonly deliveryClass = 'exactly once';
  readonly encoder: MessageSink['encoder'];
  readonly got: number[] = [];
  readonly wrong: string[] = [];

  constructor(
    private readonly key: string,
    private readonly random: (n: number) => number,
  ) {
    this.encoder = {
      key,
      format: ({ sequence, rawAction, details }) => {
        if (sequence % 997 === 0 && rawAction !== '') throw new Error('no such form');
        return `${key} ${sequence} ${details?.length ?? 0}`;
      },
      last: ({ sequence }) => `${key} ${sequence} last`,
      end: '\n',
    };
  }

  readonly deliver = async ({ messages, upTo }: MessageBatch): Promise<Delivered> => {
    if (this.random(40) === 0) throw new Error('refused');
    const count = this.random(4) === 0 ? 1 + this.random(messages.length) : messages.length;
    for (let at = 0; at < count; at++) {
      if (this.random(2_000) === 0) await sleep(this.random(6));
      const text = messageAt(messages, at).toString();
      const sequence = messages.sequences[at] ?? 0;
      if (!text.startsWith(`${this.key} ${sequence} `) || !text.endsWith('\n')) this.wrong.push(text);
      if (!/^[0-9a-f]{32}$/.test(messages.idAt(at))) this.wrong.push(messages.idAt(at));
      this.got.push(sequence);
    }
    return { upTo: count === messages.length ? upTo : (messages.sequences[count - 1] ?? 0) };
  };

  async open() {
    return null;
  }

  async check() {
    return [];
  }

  figures() {
    return {};
  }

  async close() {}
}

it('each sink gets its rows once, in order and unchanged, while memory is reused and sinks fail or lag', async () => {
  const { give } = MemoryPool.prototype;
  let given = 0;
  MemoryPool.prototype.give = function (memory) {
    given++;
    memory.bytes.fill(0x21); // whoever still reads it, sees that
    give.call(this, memory);
  };
  onTestFinished(() => {
    MemoryPool.prototype.give = give;
  });
  const random = randomFrom(Number(process.env.SEED ?? 7_919));
  const { db, state, ship } = rig();
  const insert = db.prepare(
    "INSERT INTO audit_log (id, created_at, action, resource_type, details) VALUES (?, '2026-11-01 00:00:00', ?, 'setting', ?)",
  );
  const rows: Array<{ id: number; action: string }> = [];
  const add = (count: number) =>
    db.transaction(() => {
      for (let n = 0; n < count; n++) {
        const id = (rows.at(-1)?.id ?? 0) + (random(50) === 0 ? 1 + random(3_000) : 1);
        const action = random(3) === 0 ? 'delete' : 'update';
        rows.push({ id, action });
        insert.run(
          id,
          action,
          JSON.stringify({ n: id, x: 'z'.repeat(random(20) === 0 ? 3_000 : random(100)) }),
        );
      }
    })();
  const deletes: EventsFilter = { action: ['delete'] };
  const updates: EventsFilter = { action: ['update'] };
  const cases = [
    { key: 'a' },
    { key: 'a' },
    { key: 'b', filter: deletes },
    { key: 'b' },
    { key: 'c', filter: updates },
  ].map(({ key, filter }) => ({ filter, sink: new UnsteadySink(key, random) }));
  add(5_000 + random(15_000));
  const shipper = await ship(
    cases.map(({ filter, sink }, n) => ({
      name: `sink${n}`,
      sink,
      config: {
        ...fileSink.parse({ type: 'file', directory: '/nowhere' }),
        required: false,
        ...(filter === undefined ? {} : { events: filter }),
      },
    })),
    { editsMs: 50 },
  );
  for (let round = 0; round < 10; round++) {
    await sleep(random(200));
    add(random(4) === 0 ? random(9_000) : random(5));
  }
  const last = rows.at(-1)?.id ?? 0;
  await expect
    .poll(() => Object.values(shipper.status().sinks).every(({ cursors }) => cursors.postern?.id === last), {
      timeout: 120_000,
    })
    .toBe(true);
  for (const { filter, sink } of cases) {
    expect(sink.wrong).toEqual([]);
    const wanted = rows.filter(({ action }) => filter?.action?.includes(action) !== false);
    expect(sink.got).toEqual(wanted.map(({ id }) => id));
  }
  const recorded: number[] = [];
  for (let behind: number | null = 0; behind !== null; )
    behind = state.fingerprints.someIds('postern', 1, behind, (id) => recorded.push(id));
  expect(recorded).toEqual(rows.map(({ id }) => id));
  expect(given).toBeGreaterThan(5);
});
