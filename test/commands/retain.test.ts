import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { renderDry, renderLast, renderRetention } from '../../src/commands/retain/render.js';
import { utcTime } from '../../src/commands/support/times.js';
import type { LastRun } from '../../src/retention/saved-state.js';
import type { RetentionStatus } from '../../src/retention/scheduler.js';
import type { DryTarget } from '../../src/retention/thread-protocol.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { run as runCommand } from './cli.js';

const AT = Date.UTC(2026, 10, 25, 3, 17);
const STAYING = { young: 0, forever: 0, held: 0, legal_hold: 0, future: 0, undated: 0, large: 0 };

describe('the output of retain', () => {
  const target: DryTarget = {
    source: 'postern',
    rows: 12_000,
    staying: { young: 9_000, forever: 1, held: 990, legal_hold: 0, future: 2, undated: 3, large: 0 },
    going: [
      { category: 'auth', month: '2025-10', rows: 1_999, early: 0 },
      { category: 'stream', month: '2025-11', rows: 1, early: 1 },
    ],
    held: [
      { sink: 'siem', rows: 990, since: AT },
      { sink: 'new', rows: 1, since: null },
    ],
    overridden: [{ sink: 'dead', rows: 4, since: AT }],
    reference: AT,
  };

  it('the output of a dry run has the rows by month and category, and why the others are kept', () => {
    expect(
      renderDry([target], utcTime),
    ).toBe(`postern: 2,000 rows of 12,000 would be removed, ages counted from 2026-11-25T03:17:00Z
  2025-10  auth    1,999 rows
  2025-11  stream  1 row       1 of them before they reach their age
  kept: 9,000 rows not old enough
  kept: 1 row kept for ever
  kept: 990 rows old enough, and held back for a sink
  kept: 2 rows in the future
  kept: 3 rows without a readable time
  sink siem holds back 990 rows: it has made no progress since 2026-11-25T03:17:00Z
  sink new holds back 1 row: it has not received them yet
  4 rows would be removed although dead has not received them (max_hold)
`);
  });

  it('the output of a dry run on an empty table has no rows', () => {
    const nothing = {
      ...target,
      rows: 0,
      going: [],
      staying: STAYING,
      held: [],
      overridden: [],
      reference: null,
    };
    expect(renderDry([nothing], utcTime)).toBe('postern: 0 rows of 0 would be removed\n');
  });

  const last: LastRun = {
    begin: AT,
    end: AT + 1_540,
    deleted: 5_000,
    archives: 1,
    held: [],
    lock_ms: 4,
    free_bytes: 3 * 2 ** 20,
    auto_vacuum: 'none',
    error: null,
  };

  it('the output of a run has the removed rows, the wait of Postern, and how to regain the space', () => {
    expect(renderLast(last, utcTime)).toEqual([
      '5,000 rows removed, 1 archive written, in 1.5 s (2026-11-25T03:17:00Z)',
      '3 MiB in the database are free for new rows. To return them to the disk, stop Postern and run: sqlite3 DATABASE VACUUM',
    ]);
    const slow = {
      ...last,
      lock_ms: 80,
      auto_vacuum: 'incremental',
      held: [{ sink: 'siem', rows: 2, since: AT }],
    };
    expect(renderLast(slow, utcTime).slice(1)).toEqual([
      'sink siem holds back 2 rows: it has made no progress since 2026-11-25T03:17:00Z',
      'Postern had to wait up to 80 ms for a single commit: this disk is slow',
      '3 MiB in the database are free, and the next run returns them to the disk',
    ]);
    expect(renderLast({ ...last, refused: 2 }, utcTime)[1]).toMatch(
      /^2 rows are archived and not removed.*systemctl reload postern-auditd$/,
    );
    expect(renderLast({ ...last, deleted: 0, error: 'no room' }, utcTime)).toEqual([
      'failed at 2026-11-25T03:17:01Z: no room',
    ]);
    expect(renderLast({ ...last, deleted: 2, archives: 1, error: 'no room' }, utcTime)[1]).toBe(
      '2 rows had already been removed, 1 archive written',
    );
  });

  it('the output of status has whether retention is on, its next run, and why it waits', () => {
    const status: RetentionStatus = {
      enabled: true,
      next: '2026-11-26T03:17:00.000Z',
      waiting: null,
      run: null,
      last,
      expiry: null,
      legal_holds: { in_force: [], trouble: null },
    };
    expect(renderRetention({ ...status, enabled: false }, utcTime)).toEqual([
      'retention: off, entries are kept indefinitely',
    ]);
    expect(renderRetention({ ...status, last: null }, utcTime)).toEqual([
      'retention: next run 2026-11-26T03:17:00Z',
    ]);
    expect(renderRetention({ ...status, waiting: 'the clock was set' }, utcTime)[0]).toBe(
      'retention: waiting: the clock was set',
    );
    const running = { kind: 'now', state: 'running', progress: null, dry: null, error: null } as const;
    expect(renderRetention({ ...status, run: running }, utcTime)[0]).toBe('retention: running');
    expect(renderRetention({ ...status, run: { ...running, kind: 'dry' } }, utcTime)[0]).toMatch(
      /^retention: next run/,
    );
  });
});

describe('retain', () => {
  let rig: DaemonRig;
  let archive: string;
  const retain = (...args: string[]) => runCommand(['retain', ...args, '--config', rig.configPath]);

  /** The daemon, with rows of which five are old, in two months, and the newest is not. */
  async function start(enabled: boolean, more = ''): Promise<void> {
    rig.configure(
      `retention: { enabled: ${enabled}, schedule: "0 0 29 2 *", keep: { default: 1y, auth: 90d }, archive: { directory: ${archive} } }`,
    );
    if (more !== '') {
      const text = readFileSync(rig.configPath, 'utf8');
      writeFileSync(rig.configPath, text.replace('sinks:\n', `sinks:\n  ${more}\n`));
    }
    const insert = rig.db.prepare(
      'INSERT INTO audit_log (created_at, action, resource_type) VALUES (?, ?, ?)',
    );
    for (let n = 0; n < 3; n++) insert.run('2020-01-02 03:04:05', 'login_failure', 'auth');
    for (let n = 0; n < 2; n++) insert.run('1585699200', 'update', 'stream');
    insert.run('soon', 'update', 'stream');
    insert.run(new Date().toISOString(), 'update', 'stream');
    await rig.start();
  }

  async function shipped(): Promise<void> {
    await rig.until(
      ({ sinks }) =>
        ['audit', 'auth'].every(
          (name) => ((sinks[name]?.looks ?? sinks[name]?.cursors)?.postern?.id ?? 0) >= 7,
        ),
      'shipped',
    );
    await rig.durable(7);
  }

  beforeEach(() => {
    rig = new DaemonRig();
    archive = join(rig.directory, 'archive');
  });
  afterEach(() => rig.close());

  it('retain previews rows, removes them, and then has nothing left to do', async () => {
    await start(true);
    await shipped();
    const dry = retain('--dry-run');
    expect(dry).toMatchObject({ code: 0, err: '' });
    expect(dry.out).toMatch(
      /^postern: 5 rows of 7 would be removed, ages counted from .*\n {2}2020-01 {2}auth {4}3 rows\n {2}2020-04 {2}stream {2}2 rows\n {2}kept: 1 row not old enough\n {2}kept: 1 row without a readable time\n/,
    );
    const json = JSON.parse(retain('--dry-run', '--json').out) as DryTarget[];
    expect(json[0]).toMatchObject({
      source: 'postern',
      rows: 7,
      staying: { ...STAYING, young: 1, undated: 1 },
    });
    expect(json[0]?.going.map(({ month, category, rows }) => [month, category, rows])).toEqual([
      ['2020-01', 'auth', 3],
      ['2020-04', 'stream', 2],
    ]);
    expect(retain('--now')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^5 rows removed, 2 archives written, in \d+\.\d s \(20/),
    });
    expect(rig.db.prepare('SELECT id FROM audit_log').pluck().all()).toEqual([6, 7]);
    expect(JSON.parse(retain('--now', '--json').out)).toMatchObject({ deleted: 0, archives: 0, error: null });
    expect(runCommand(['status', '--config', rig.configPath]).out).toMatch(
      /^retention: next run \d{4}-02-29T00:00:00Z\n {2}0 rows removed, 0 archives written, in /m,
    );
  });

  it('retain names a sink that holds back rows, and removes none of them', async () => {
    await start(
      true,
      'dead: { type: syslog, transport: tcp, targets: ["127.0.0.1:9"], required: true, start: beginning }',
    );
    await shipped();
    expect(retain('--dry-run').out).toMatch(
      /^postern: 0 rows of 7 would be removed[\s\S]*kept: 5 rows old enough, and held back for a sink\n[\s\S]*sink dead holds back 5 rows: /,
    );
    const now = retain('--now');
    expect(now.code).toBe(0);
    expect(now.out).toMatch(/^0 rows removed, 0 archives written, .*\nsink dead holds back 5 rows: /);
    expect(rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(7);
  });

  it('retain previews rows and removes none while retention is off', async () => {
    await start(false);
    await shipped();
    expect(retain('--dry-run')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^postern: 5 rows of 7/),
    });
    expect(retain('--now')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/Retention is off: nothing is removed\. Set retention\.enabled to true/),
    });
    expect(rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(7);
  });

  it('retain exits with 1 when the run fails, and prints the reason', async () => {
    writeFileSync(archive, 'a file');
    await start(true);
    await shipped();
    expect(retain('--now')).toMatchObject({ code: 1, out: '', err: expect.stringContaining(archive) });
    const { code, out } = retain('--now', '--json');
    expect(code).toBe(1);
    expect((JSON.parse(out) as { error: string }).error).toContain(archive);
    expect(rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(7);
    rmSync(archive);
    expect(retain('--now').out).toMatch(/^5 rows removed/);
  });

  it('retain exits with 2 without an option, and with 3 without a daemon', () => {
    for (const args of [[], ['--dry-run', '--now']])
      expect(retain(...args)).toMatchObject({
        code: 2,
        err: expect.stringContaining('exactly one of --dry-run'),
      });
    expect(retain('--now')).toMatchObject({ code: 3, out: '' });
  });
});
