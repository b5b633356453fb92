import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import Database from '../../src/load-sqlite.js';
import type { NewEntry } from '../../src/recorder/recorder.js';
import { Retention } from '../../src/retention/scheduler.js';
import type { ShipperStatus } from '../../src/shipping/shipper.js';
import { State } from '../../src/shipping/state.js';
import { archivedIds, DAY, RetentionRig, sqlTime } from './retention-fixture.js';

const HOUR = 3_600_000;
const WORKER = pathToFileURL(resolve(import.meta.dirname, '../../dist/retention/worker.js'));

let rig: RetentionRig;
let state: State;
let retention: Retention | null;
let entries: NewEntry[];
let warnings: string[];
/** Offset to the real clocks, ms. */
let clock: number;
let up: number;
/** The kernel's answer about the clock. */
let synchronised: boolean | null;

/** Retention as in the daemon, with simulated clocks, a real thread and a real purge. */
function start(schedule = '* * * * *', more = '', keep = 'forever'): Retention {
  const path = join(rig.directory, 'config.yml');
  writeFileSync(
    path,
    `source: { database: ${rig.database} }
state: ${rig.directory}/state
retention: { enabled: true, schedule: "${schedule}", keep: { default: 1y, auth: 90d }, archive: { directory: ${rig.archive}, keep: ${keep} } ${more} }
`,
  );
  retention = new Retention({
    loaded: loadConfig(path, {}),
    env: {},
    state,
    clock: () => Date.now() + clock,
    up: () => performance.now() + up,
    ran: () => performance.now() + up,
    synchronised: async () => synchronised,
    log: pino(
      { level: 'warn' },
      { write: (line) => warnings.push((JSON.parse(line) as { msg: string }).msg) },
    ),
    shipped: () =>
      ({
        sources: { postern: { timeline: 1, mark: 1_000, maxId: 1_000 } },
        sinks: {},
      }) as unknown as ShipperStatus,
    record: (entry) => entries.push(entry),
    write: (entry) => entries.push(entry),
    worker: WORKER,
  });
  retention.start();
  return retention;
}

async function finished(): Promise<string | null> {
  for (;;) {
    const { run } = retention?.status() ?? {};
    if (run && run.state !== 'running') return run.error;
    await sleep(20);
  }
}

const forms: ReadonlyArray<(time: number) => unknown> = [
  sqlTime,
  (time) => new Date(time).toISOString(),
  (time) => Math.floor(time / 1_000),
  (time) => time,
];

beforeEach(() => {
  rig = new RetentionRig();
  [entries, warnings, clock, up, synchronised] = [[], [], 0, 0, true];
  mkdirSync(join(rig.directory, 'state'));
  state = new State(join(rig.directory, 'state'));
  const now = Date.now();
  // Ids 1 to 4 are old, 5 to 8 are not, in each form; then rows without an age, and the newest.
  for (const age of [430, 300]) rig.insert(forms.map((form) => ({ created: form(now - age * DAY) })));
  rig.insert([{ created: 'unreadable' }, { created: sqlTime(now + 900 * DAY) }, { created: sqlTime(now) }]);
});
afterEach(async () => {
  await retention?.stop();
  state.close();
  rig.close();
});

const YOUNG = [5, 6, 7, 8, 9, 10, 11];

describe('retention on its schedule', () => {
  it('retention runs on schedule, and remembers the run across a restart', async () => {
    start('* * * * *');
    clock += 60_000; // a minute later
    while (retention?.status().last === null) await sleep(20);
    expect(retention?.status().last).toMatchObject({ deleted: 4, error: null });
    expect(rig.ids()).toEqual(YOUNG);
    expect(entries.map(({ action }) => action)).toEqual(['daemon.archive_create', 'daemon.purge']);
    await retention?.stop();
    start('0 0 29 2 *');
    expect(retention?.status().last?.deleted).toBe(4);
    await sleep(700);
    expect(retention?.status().run).toBeNull();
  });

  it('retention waits a day after the clock is set forward, even across a restart and when it is set back', async () => {
    start('0 0 29 2 *');
    retention?.begin('dry');
    await finished();
    clock += 100 * DAY; // the rows of 300 days are past a year now, by that clock
    rig.insert([{ created: sqlTime(Date.now() + clock) }]);
    expect(() => retention?.begin('now')).toThrow(
      /the clock was set forward by 2400 h.*so the next run waits 24 h/s,
    );
    await retention?.stop();
    start('* * * * *');
    await sleep(700); // its first look
    expect(() => retention?.begin('now')).toThrow(/set forward/);
    clock -= 100 * DAY;
    expect(() => retention?.begin('now')).toThrow(/the clock was set back by 2400 h/);
    up += 23 * HOUR;
    clock += 23 * HOUR;
    expect(() => retention?.begin('now')).toThrow(/waits 1 h/);
    expect(rig.ids()).toEqual([1, 2, 3, 4, ...YOUNG, 12]);
    up += HOUR;
    clock += HOUR;
    retention?.begin('now');
    expect(await finished()).toBeNull();
    expect(rig.ids()).toEqual([...YOUNG, 12]);
    expect(entries.filter(({ action }) => action === 'daemon.purge_postponed')).toHaveLength(2);
  });

  /** Reboots the machine. */
  async function reboot(keep: string): Promise<void> {
    await retention?.stop();
    up = -performance.now() + 1_000;
    start('0 0 29 2 *', '', keep);
    await sleep(700); // its first look
  }

  async function now(): Promise<void> {
    while (retention?.status().run?.state === 'running') await sleep(20); // a run that was due by that clock
    retention?.begin('now');
    expect(await finished()).toBeNull();
  }

  it('retention keeps every archive if the clock is years ahead after a reboot, however often a run is requested', async () => {
    start('0 0 29 2 *', '', '7y');
    await now();
    const archives = archivedIds(rig.archive);
    expect(archives).toEqual([1, 2, 3, 4]);
    clock = 2_950 * DAY;
    await reboot('7y');
    rig.insert([{ created: sqlTime(Date.now() + clock) }]); // the table then has that time, too
    for (let times = 0; times < 3; times++) await now();
    expect(archivedIds(rig.archive)).toEqual(expect.arrayContaining(archives));
    expect(retention?.status().expiry).toMatchObject({ clock_known: null });
    expect(entries.filter(({ action }) => action === 'daemon.archive_expire')).toHaveLength(1);
    // A day later the clock is still wrong and not synchronised.
    synchronised = false;
    up += 25 * HOUR;
    clock += 25 * HOUR;
    await now();
    expect(archivedIds(rig.archive)).toEqual(expect.arrayContaining(archives));
    expect(retention?.status().expiry).toMatchObject({ wait: 0, clock_known: false });
    // After the correction nothing is past its age, and the next count starts from zero.
    clock = 0;
    up += 25 * HOUR;
    await reboot('7y');
    up += 25 * HOUR;
    clock += 25 * HOUR;
    await now();
    expect(retention?.status().expiry).toBeNull();
    expect(archivedIds(rig.archive)).toEqual(expect.arrayContaining(archives));
    expect(entries.map(({ action }) => action)).not.toContain('daemon.archive_delete');
  });

  it('retention removes an expired archive a day of running time after recording it, summed over boots, with a trusted clock', async () => {
    start('0 0 29 2 *', '', '1h');
    await now();
    clock += 2 * HOUR;
    up += 2 * HOUR;
    synchronised = null; // no answer from the kernel
    await now();
    expect(retention?.status().expiry?.archives).toBeGreaterThan(0);
    for (const hours of [10, 13]) {
      clock += hours * HOUR;
      up += hours * HOUR;
      await now();
      await reboot('1h');
    }
    expect(archivedIds(rig.archive)).toEqual([1, 2, 3, 4]);
    clock += 2 * HOUR;
    up += 2 * HOUR;
    await now();
    expect(archivedIds(rig.archive)).toEqual([1, 2, 3, 4]);
    expect(retention?.status().expiry).toMatchObject({ wait: 0, clock_known: false });
    retention?.confirmClock();
    await now();
    expect(archivedIds(rig.archive)).toEqual([]);
    expect(entries.map(({ action }) => action)).toContain('daemon.clock_confirm');
    expect(entries.find(({ action }) => action === 'daemon.archive_delete')?.details).toMatchObject({
      rule: expect.stringContaining('retention.archive.keep') as string,
      rows: 4,
      archives: [
        { sequence: 1, count: expect.any(Number) as number, manifest_sha256: expect.any(String) as string },
      ],
    });
  });

  it("retention counts ages of the daemon's events from Postern's newest row, because a wrong clock affects them at once", async () => {
    const add = state.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type) VALUES (?, 'start', 'daemon')",
    );
    for (const age of [500, 300]) add.run(sqlTime(Date.now() - age * DAY));
    clock = 2_950 * DAY;
    add.run(sqlTime(Date.now() + clock));
    start('0 0 29 2 *');
    (retention as unknown as { options: { shipped: () => unknown } }).options.shipped = () => ({
      sources: {
        postern: { timeline: 1, mark: 1_000, maxId: 1_000 },
        auditd: { timeline: 1, mark: 9, maxId: 9 },
      },
      sinks: {},
    });
    await now();
    expect(state.db.prepare('SELECT id FROM audit_log').pluck().all()).toEqual([2, 3]);
  });

  it('retention reports why a run failed, with one event, and retries', async () => {
    start('* * * * *');
    rig.db.exec('ALTER TABLE audit_log RENAME TO gone');
    retention?.begin('now');
    expect(await finished()).toMatch(/has no table audit_log/);
    retention?.begin('now');
    expect(await finished()).toMatch(/has no table audit_log/);
    expect(entries.map(({ action }) => action)).toEqual(['daemon.purge_postponed']);
    expect(retention?.status().last?.error).toMatch(/has no table/);
    rig.db.exec('ALTER TABLE gone RENAME TO audit_log');
    retention?.begin('now');
    expect(await finished()).toBeNull();
    expect(rig.ids()).toEqual(YOUNG);
  });

  it('a run fails and the daemon does not if state.db is full while events or the note are written', async () => {
    start('0 0 29 2 *');
    const full = (table: string) =>
      state.db.exec(
        `CREATE TEMP TRIGGER t BEFORE ${table} BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`,
      );
    full("INSERT ON meta WHEN new.key = 'retention_purged'");
    retention?.begin('now');
    expect(await finished()).toMatch(
      /can't write to state\.db: database or disk is full.*the next run resumes this one/s,
    );
    expect(retention?.status().last?.error).toMatch(/disk is full/);
    expect(entries.map(({ action }) => action)).toContain('daemon.purge_postponed');
    state.db.exec('DROP TRIGGER t');
    const add = state.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type) VALUES (?, 'start', 'daemon')",
    );
    for (const age of [500, 400, 300, 0]) add.run(sqlTime(Date.now() - age * DAY));
    (retention as unknown as { options: { shipped: () => unknown } }).options.shipped = () => ({
      sources: { auditd: { timeline: 1, mark: 4, maxId: 4 } },
      sinks: {},
    });
    full('DELETE ON audit_log');
    retention?.begin('now');
    expect(await finished()).toMatch(/can't write to state\.db: database or disk is full/);
    expect(state.db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(4);
    state.db.exec('DROP TRIGGER t');
    retention?.begin('now');
    expect(await finished()).toBeNull();
    expect(state.db.prepare('SELECT id FROM audit_log').pluck().all()).toEqual([3, 4]);
    expect(archivedIds(rig.archive, 'auditd')).toEqual([1, 2]);
  });

  it('retention stops a run if the path leads to another history', async () => {
    start('0 0 29 2 *');
    retention?.begin('now');
    retention?.replaced();
    expect(await finished()).toMatch(/another history since it began/);
    expect(rig.ids()).toEqual([1, 2, 3, 4, ...YOUNG]);
    expect(entries.map(({ action }) => action)).toEqual(['daemon.purge_postponed']);
    retention?.begin('now');
    expect(await finished()).toBeNull();
    expect(rig.ids()).toEqual(YOUNG);
  });

  it('a run reads only the database for which its limits were determined', async () => {
    start('0 0 29 2 *');
    const other = join(rig.directory, 'other.db');
    rig.db.exec(`VACUUM INTO '${other}'`);
    retention?.begin('now');
    renameSync(other, rig.database); // before its thread has started
    expect(await finished()).toMatch(/has been replaced since the run began/);
    const db = new Database(rig.database, { readonly: true });
    expect(db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(11);
    db.close();
    expect(archivedIds(rig.archive)).toEqual([]);
  });

  it('retention reports archived rows that the purge refuses, as after a change without a reload', async () => {
    start('0 0 29 2 *');
    const path = join(rig.directory, 'config.yml');
    writeFileSync(path, readFileSync(path, 'utf8').replace('default: 1y', 'default: 5y'));
    for (const _ of [1, 2]) {
      retention?.begin('now');
      expect(await finished()).toBeNull();
      expect(retention?.status().last).toMatchObject({ deleted: 0, refused: 4, error: null });
      expect(rig.ids()).toEqual([1, 2, 3, 4, ...YOUNG]);
    }
    const purges = entries.filter(({ action }) => action === 'daemon.purge');
    expect(purges.map(({ details }) => details)).toMatchObject([{ refused: 4 }, { refused: 4 }]);
    expect(warnings.filter((text) => /4 rows are archived and not removed.*reload/.test(text))).toHaveLength(
      2,
    );
    expect(archivedIds(rig.archive)).toEqual([1, 2, 3, 4]);
  });

  it('a run reports what it had deleted before it failed or was interrupted', async () => {
    start('0 0 29 2 *');
    const now = Date.now();
    const more = { ids: [12, 13], age: 390 * DAY }; // a later month, which can't be removed
    rig.insert([
      ...more.ids.map(() => ({ created: sqlTime(now - more.age), action: 'keep' })),
      { created: sqlTime(now) },
    ]);
    rig.db.exec(
      `CREATE TRIGGER t BEFORE DELETE ON audit_log WHEN old.action = 'keep' BEGIN SELECT RAISE(ABORT, 'not this one'); END`,
    );
    retention?.begin('now');
    expect(await finished()).toMatch(/not this one/);
    expect(rig.ids()).toEqual([...YOUNG, 12, 13, 14]);
    expect(retention?.status().last).toMatchObject({
      deleted: 4,
      archives: 2,
      error: expect.stringMatching(/not this one/) as string,
      problem: { what: expect.stringMatching(/not this one/) as string, next: expect.any(String) as string },
    });
    expect(entries.find(({ action }) => action === 'daemon.purge')?.details).toMatchObject({
      source: 'postern',
      deleted: 4,
      removed_by_others: 0,
      archive: { sequence: 1, count: 4 },
      by: { kind: 'command', name: null, claimed: true },
      policy: { keep: { default: '1y', auth: '90d' } },
    });
  });

  it('retention reports every deleted row once, even if the daemon stopped during the run', async () => {
    start('0 0 29 2 *');
    const old = sqlTime(Date.now() - 500 * DAY);
    rig.insert(Array.from({ length: 40_000 }, () => ({ created: old })));
    rig.insert([{ created: sqlTime(Date.now()) }]);
    (retention as unknown as { options: { shipped: () => unknown } }).options.shipped = () => ({
      sources: { postern: { timeline: 1, mark: 100_000, maxId: 100_000 } },
      sinks: {},
    });
    const before = rig.ids().length;
    retention?.begin('now');
    while (rig.ids().length > before - 2_500) await sleep(2);
    await retention?.stop();
    const deleted = before - rig.ids().length;
    expect(rig.ids().length).toBeGreaterThan(YOUNG.length + 1);
    // The answer to the interrupted request was lost: the next run finds the result.
    expect(entries.filter(({ action }) => action === 'daemon.purge')).toEqual([]);
    const shipped = (retention as unknown as { options: { shipped: () => unknown } }).options.shipped;
    start('0 0 29 2 *');
    (retention as unknown as { options: { shipped: () => unknown } }).options.shipped = shipped;
    retention?.begin('now', 'ann');
    expect(await finished()).toBeNull();
    const told = entries.flatMap(({ action, details }) => (action === 'daemon.purge' ? [details] : []));
    const gone = before - rig.ids().length;
    expect(gone).toBeGreaterThan(deleted);
    expect(told.reduce((sum, details) => sum + Number(details?.deleted), 0)).toBe(gone);
    expect(told.every((details) => details?.removed_by_others === 0)).toBe(true);
    expect(told[0]).toMatchObject({
      resumed: true,
      by: { kind: 'command', name: 'ann', claimed: true },
      begun_by: { kind: 'command', name: null, claimed: true },
    });
  });

  it("retention applies the same ages to the daemon's own events", async () => {
    const add = state.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type) VALUES (?, 'start', 'daemon')",
    );
    for (const age of [500, 400, 300, 0]) add.run(sqlTime(Date.now() - age * DAY));
    start('0 0 29 2 *');
    (retention as unknown as { options: { shipped: () => unknown } }).options.shipped = () => ({
      sources: {
        postern: { timeline: 1, mark: 1_000, maxId: 1_000 },
        auditd: { timeline: 1, mark: 4, maxId: 4 },
      },
      sinks: {},
    });
    retention?.begin('now');
    expect(await finished()).toBeNull();
    expect(state.db.prepare('SELECT id FROM audit_log').pluck().all()).toEqual([3, 4]);
  });
});
