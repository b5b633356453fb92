import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable, createRecorder } from '../../src/recorder/recorder.js';
import { State } from '../../src/shipping/state.js';
import { createOwnSource } from '../../src/source/auditd-source.js';
import {
  markAt,
  openSource,
  reading,
  request,
  SOURCE_ID,
  START,
  temporaryDirectory,
} from './postern-fixture.js';

function scene() {
  const db = new Database(':memory:');
  onTestFinished(() => {
    db.close();
  });
  createAuditTable(db);
  const recorder = createRecorder(db);
  const source = createOwnSource({
    db,
    table: 'audit_log',
    sourceId: SOURCE_ID,
    classify: createClassifier({}),
    redact: (details) => details,
    clock: () => 1_763_842_860_000,
    server: 'proxy-1',
  });
  const ban = () => recorder.record({ action: 'ban.ban', address: '203.0.113.7', time: 1_763_842_860_000 });
  return { db, source, ban };
}

describe("the daemon's own audit table", () => {
  test("the daemon's own table is read by id over the open connection", () => {
    const { source, ban, db } = scene();
    ban();
    ban();
    const look = reading(source.read(request(START, { maxRows: 1 })));
    expect(look).toMatchObject({ postern: 'running', upTo: 1, more: true, maxId: 2, markDeleted: false });
    expect(look.events[0]).toMatchObject({ source: 'auditd', sequence: 1, address: '203.0.113.7' });
    const next = reading(source.read(request(markAt(look.events[0] ?? raise()))));
    expect(next.events.map((event) => event.sequence)).toEqual([2]);
    expect(source.row(2, 1)?.id).toBe(next.events[0]?.id);
    expect(source.row(3, 1)).toBeNull();
    expect([db.open, db.inTransaction]).toEqual([true, false]);
  });

  test("a row of the daemon's own table has another event id than the same row of Postern", () => {
    const { source, ban, db } = scene();
    ban();
    const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
    db.exec(`VACUUM INTO '${database}'`);
    const [ours] = reading(source.read(request(START))).events;
    const [theirs] = reading(openSource(database).source.read(request(START))).events;
    expect(theirs).toMatchObject({ sequence: 1, address: '203.0.113.7' });
    expect(ours?.id).not.toBe(theirs?.id);
  });

  test('a revision names its original row, which does not change its event id', () => {
    const { db } = scene();
    const directory = temporaryDirectory(onTestFinished);
    const state = new State(directory);
    onTestFinished(() => state.close());
    const own = (from: Database) =>
      createOwnSource({
        db: from,
        table: 'audit_log',
        sourceId: SOURCE_ID,
        classify: createClassifier({}),
        redact: (details) => details,
        clock: () => 1_763_842_860_000,
        server: 'proxy-1',
      });
    const columns = 'created_at, user_name, action, resource_type, ip_address, server';
    const values = "'2026-11-22 20:21:00', 'Ann', ?, ?, '203.0.113.7', ?";
    const rows: Array<[string, string | null, string | null]> = [
      ['daemon.row_edited', 'a client may write anything here '.repeat(9), null],
      ['login_failed', null, 'elsewhere'],
    ];
    for (const row of rows) {
      db.prepare(`INSERT INTO audit_log (${columns}) VALUES (${values})`).run(row);
      state.db
        .prepare(
          `INSERT INTO audit_log (${columns}, revision_of, revised_action) VALUES (${values}, 4711, ?)`,
        )
        .run(...row, 'login_failed');
    }
    const [plain, revised] = [db, state.db].map((from) => reading(own(from).read(request(START))).events);
    expect(revised?.map(({ id }) => id)).toEqual(plain?.map(({ id }) => id));
    expect(plain?.map(({ revisionOf }) => revisionOf)).toEqual([null, null]);
    expect(revised?.[0]).toMatchObject({
      revisionOf: 4711,
      action: 'daemon.row_edited',
      rawAction: 'login_failed',
      local: true,
    });
    expect(revised?.[0]?.revisedType?.known).toBe(false); // as the row itself would be, beside such a resource type
    expect(revised?.[1]).toMatchObject({
      revisionOf: 4711,
      action: 'auth.login_failure',
      local: false,
      server: 'elsewhere',
    });
    expect(revised?.[1]?.revisedType).toBeUndefined();
    expect(own(state.db).row(2, 1)).toMatchObject({ revisionOf: 4711 });
    expect(JSON.parse(formatEcs(revised?.[1] ?? raise())).postern).toMatchObject({ revision_of: 4711 });
  });

  test("the daemon's own table is read on after the row at the mark was purged", () => {
    const { source, ban, db } = scene();
    ban();
    ban();
    const mark = markAt(reading(source.read(request(START))).events[1] ?? raise());
    db.exec('DELETE FROM audit_log');
    expect(source.read(request(mark))).toMatchObject({ state: 'reading', markDeleted: true });
    ban();
    expect(reading(source.read(request(mark))).events.map((event) => event.sequence)).toEqual([3]);
  });

  test("the daemon's own table can be read in the caller's transaction", () => {
    const { source, ban, db } = scene();
    db.transaction(() => {
      ban();
      expect(reading(source.read(request(START))).upTo).toBe(1);
    })();
  });

  test('rows recorded together wake the watcher once, afterwards, and never after close', async () => {
    const { source } = scene();
    const onWake = vi.fn();
    const watching = source.watch(onWake);
    await vi.waitFor(() => expect(onWake).toHaveBeenCalledTimes(1), 60_000);
    source.notify();
    source.notify();
    expect(onWake).toHaveBeenCalledTimes(1);
    await vi.waitFor(() => expect(onWake).toHaveBeenCalledTimes(2), 60_000);
    watching.close();
    source.notify();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(onWake).toHaveBeenCalledTimes(2);
  });

  test('a failed read is retried after 5 s without a call of notify', async () => {
    const { source, db } = scene();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const onWake = vi.fn(() => source.read(request(START)));
    const watching = source.watch(onWake);
    await vi.waitFor(() => expect(onWake).toHaveBeenCalledTimes(1), 60_000);
    vi.advanceTimersByTime(50_000);
    expect(onWake).toHaveBeenCalledTimes(1);
    db.exec('ALTER TABLE audit_log RENAME TO gone');
    vi.advanceTimersByTime(60_000);
    const failed = onWake.mock.calls.length;
    expect(onWake.mock.results.at(-1)?.value).toMatchObject({ state: 'no_table' });
    vi.advanceTimersByTime(10_000);
    expect(onWake.mock.calls.length).toBeGreaterThanOrEqual(failed + 2);
    db.exec('ALTER TABLE gone RENAME TO audit_log');
    vi.advanceTimersByTime(5_000);
    expect(onWake.mock.results.at(-1)?.value).toMatchObject({ state: 'reading' });
    watching.close();
  });

  test('a missing own table is a waiting state, not a crash', () => {
    const { source, db } = scene();
    db.exec('DROP TABLE audit_log');
    expect(source.read(request(START))).toMatchObject({
      state: 'no_table',
      message: expect.stringMatching(/^state\.db: /),
    });
    expect(source.row(1, 1)).toBeNull();
  });
});

function raise(): never {
  throw new Error('no such event');
}
