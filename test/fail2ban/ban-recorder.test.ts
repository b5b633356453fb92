import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { BanRecorder } from '../../src/fail2ban/ban-recorder.js';
import { type Ban, parseBans, parseStatus } from '../../src/fail2ban/client.js';
import { BanComparison, missingBans, recordedBans } from '../../src/fail2ban/compare-bans.js';
import { formatOcsf } from '../../src/formats/ocsf.js';
import { State } from '../../src/shipping/state.js';
import { createOwnSource } from '../../src/source/auditd-source.js';
import { run } from '../commands/cli.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';
import { ocsfFaults } from '../formats/ocsf-schema.js';

let directory: string;
let path: string;
let state: State;
let log: string[];
let now: number;
const logger = () => pino({ level: 'info' }, { write: (line: string) => log.push(line) });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'journal-'));
  path = join(directory, 'bans.log');
  state = new State(join(directory, 'state'));
  log = [];
  now = Date.now();
});
afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true, force: true });
});

const nobody = { report: async () => Promise.reject(new Error('no fail2ban')) };

function journal(): BanRecorder {
  return new BanRecorder({
    path,
    state,
    server: 'here',
    clock: () => now,
    log: logger(),
    onRecorded: () => undefined,
    jail: nobody,
  });
}

/** Reads what is there, as at the daemon's start. */
function read(of = journal()): ReturnType<BanRecorder['status']> {
  of.start();
  of.stop();
  return of.status();
}

const line = (address: string, time: string) =>
  `${JSON.stringify({ time, event: 'ban', ip: address, failures: 5, jail: 'posternproxy', bantime: 3600 })}\n`;

function rows(): Array<{ action: string; created_at: string; resource_id: string; details: string }> {
  return state.db
    .prepare('SELECT action, created_at, resource_id, details FROM audit_log ORDER BY id')
    .all() as ReturnType<typeof rows>;
}

describe('reports of bans', () => {
  it("reports without a readable time get the time of their reading and a note; times of busybox's date are read", () => {
    now = Date.UTC(2026, 10, 30, 12, 0, 0);
    writeFileSync(path, line('203.0.113.1', '2026-11-30T10:00:00.%3NZ') + line('203.0.113.2', '?'));
    expect(read()).toMatchObject({ bans_total: 2, bad_lines_total: 0 });
    const [first, second] = rows();
    expect(first).toMatchObject({ created_at: '2026-11-30 10:00:00', resource_id: '203.0.113.1' });
    expect(first?.details).not.toContain('time_unreadable');
    expect(second).toMatchObject({ created_at: '2026-11-30 12:00:00', resource_id: '203.0.113.2' });
    expect(JSON.parse(second?.details ?? '')).toMatchObject({ time_unreadable: true });
  });

  it('a ban and its end name the same finding, also across a restart, and the next ban another', () => {
    const report = (event: 'ban' | 'unban', time: string, jail = 'posternproxy') =>
      `${JSON.stringify({ time, event, ip: '203.0.113.1', failures: 5, jail, bantime: 3600 })}\n`;
    const all = [
      report('unban', '2026-11-30T09:00:00Z'), // of a ban before the daemon was there
      report('ban', '2026-11-30T10:00:00Z'),
      report('ban', '2026-11-30T10:00:00Z', 'other'),
      report('unban', '2026-11-30T11:00:00Z'),
      report('ban', '2026-11-30T12:00:00Z'),
      report('unban', '2026-11-30T13:00:00Z'),
    ];
    for (const one of all) {
      writeFileSync(path, one, { flag: 'a' });
      read(); // each time by another BanRecorder, as after a restart
    }
    const ids = rows().map(({ details }) => (JSON.parse(details) as { finding_id?: string }).finding_id);
    const [unknown, first, other, firstEnd, second, secondEnd] = ids;
    expect(unknown).toBeUndefined();
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect([firstEnd, secondEnd]).toEqual([first, second]);
    expect(new Set([first, other, second]).size).toBe(3);
  });

  it('the end of a ban closes its finding in OCSF', () => {
    const begun = line('203.0.113.1', '2026-11-30T10:00:00Z');
    writeFileSync(path, begun + begun.replace('"event":"ban"', '"event":"unban"'));
    read();
    const source = createOwnSource({
      db: state.db,
      table: 'audit_log',
      sourceId: state.sourceId,
      classify: createClassifier(),
      redact: createRedactor({ keys: [], mode: 'mask' }),
      clock: () => now,
      server: 'here',
    });
    const [begin, end] = [1, 2].map((id) => {
      const event = source.row(id, 1);
      return event === null ? {} : (JSON.parse(formatOcsf(event)) as Record<string, unknown>);
    });
    const finding = begin?.finding_info as { uid: string };
    expect(begin).toMatchObject({ activity_id: 1, status_id: 1, status: 'New' });
    expect(end).toMatchObject({
      activity_id: 3,
      status_id: 4,
      status: 'Resolved',
      finding_info: { uid: finding.uid },
    });
    expect(ocsfFaults(begin ?? {})).toEqual([]);
    expect(ocsfFaults(end ?? {})).toEqual([]);
  });

  it('unreadable reports are logged once, counted and recorded as an event', () => {
    writeFileSync(path, `nonsense \u001b[31m\n${line('203.0.113.1', '2026-11-30T10:00:00Z')}more\n`);
    const following = journal();
    expect(read(following)).toMatchObject({ bans_total: 1, bad_lines_total: 2 });
    writeFileSync(path, 'and more\n', { flag: 'a' });
    expect(read(following)).toMatchObject({ bans_total: 1, bad_lines_total: 3 });
    expect(log.filter((text) => text.includes("can't be read"))).toHaveLength(1);
    expect(log.join('')).not.toContain('\u001b');
    const events = rows().filter(({ action }) => action !== 'ban' && !action.endsWith('ban.ban'));
    expect(events).toHaveLength(1);
    expect(events[0]?.action).toContain('ban_report_unreadable');
    expect(JSON.parse(events[0]?.details ?? '')).toMatchObject({ path, lines: 2 });
    expect(recordedBans(state.db).bans.map(({ address }) => address)).toEqual(['203.0.113.1']);
  });
});

describe('bans that fail2ban has and has not reported', () => {
  const at = Date.UTC(2026, 10, 30, 12, 0, 0);
  /** A moment as it is taken where fail2ban's zone is so many minutes from the host's. */
  const since = (time: number, minutes = 0) => new Date(time + minutes * 60_000).toISOString();
  const ban = (begun: string | null, address = '203.0.113.1'): Ban => ({
    address,
    since: begun,
    until: null,
  });
  const missing = (bans: Ban[], times: Array<number | null>, isCut = false) =>
    missingBans(bans, { bans: times.map((time) => ({ address: '203.0.113.1', time })), isCut }, at + 60_000)
      .length;

  it.each<[string, Ban, Array<number | null>, number]>([
    ['reported at once', ban(since(at)), [at], 0],
    ['reported 50 s after its last failure', ban(since(at)), [at + 50_000], 0],
    ['never reported', ban(since(at)), [], 1],
    ['of another zone, reported', ban(since(at, 120)), [at], 0],
    ['of a zone with odd minutes, reported', ban(since(at, -345)), [at + 1_000], 0],
    ['reported for another ban before', ban(since(at)), [at - 3_600_000 - 400_000], 1],
    ['reported again', ban(since(at)), [at, at - 7_200_000 - 400_000], 0],
    ['without a time, reported', ban(null), [at - 5_000_000], 0],
    ['without a time, never reported', ban(null), [], 1],
    ['whose report has no time', ban(since(at)), [null], 0],
    ['from a day before, perhaps archived', ban(since(at - 86_400_000)), [], 0],
    ['of another address', ban(since(at), '203.0.113.9'), [at], 1],
  ])('%s', (_, listed, times, expected) => {
    expect(missing([listed], times)).toBe(expected);
  });

  it('bans older than the compared reports are not compared', () => {
    expect(missing([ban(since(at - 7_200_000), '203.0.113.9')], [at, at - 3_600_000], true)).toBe(0);
    expect(missing([ban(since(at), '203.0.113.9')], [at, at - 3_600_000], true)).toBe(1);
  });
});

const there = hasFail2ban();
if (!there && process.env.CI !== undefined) throw new Error('fail2ban is not installed');

describe.skipIf(!there)('a real fail2ban', () => {
  let fail2ban: PrivateFail2ban;
  afterEach(() => fail2ban?.close());

  function comparison(): BanComparison {
    const client = (...args: string[]) => fail2ban.client(...args);
    const report = async () => ({
      status: parseStatus(client('status', 'posternproxy')),
      bans: parseBans(client('get', 'posternproxy', 'banip', '--with-time')),
    });
    return new BanComparison({ jail: { report }, db: state.db, path, log: logger(), clock: Date.now });
  }

  it('a fail2ban that can write its reports reports every address and network', async () => {
    fail2ban = new PrivateFail2ban(path);
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.7', '2001:db8:1:2::/64');
    const reported = () => {
      read();
      return rows().length;
    };
    await expect.poll(reported, { timeout: 60_000 }).toBe(2);
    const compared = comparison();
    expect(await compared.compare()).toBe(false);
    await compared.compare();
    expect(compared.missing).toEqual([]);
  });

  it('a fail2ban that cannot write its reports is noticed at the second comparison, in the log once, and by check', async () => {
    const closed = join(directory, 'closed');
    writeFileSync(closed, ''); // no directory: what a read-only mount is to the action
    const bans = join(closed, 'bans.log');
    fail2ban = new PrivateFail2ban(bans);
    fail2ban.client('set', 'posternproxy', 'banip', '203.0.113.7');
    const compared = comparison();
    expect(await compared.compare()).toBe(true);
    expect(compared.missing).toEqual([]);
    expect(await compared.compare()).toBe(false);
    expect(compared.missing).toEqual(['203.0.113.7']);
    await compared.compare();
    expect(log.filter((text) => text.includes('without a report'))).toHaveLength(1);

    expect(state.sourceId).toHaveLength(32); // as a daemon has one
    const config = join(directory, 'config.yml');
    mkdirSync(join(directory, 'bans'));
    const auth = `sinks: { auth: { type: fail2ban, directory: ${fail2ban.authDirectory} } }`;
    writeFileSync(
      config,
      `state: ${join(directory, 'state')}\n${auth}\nfail2ban: { bans: ${join(directory, 'bans', 'bans.log')} }\n`,
    );
    const check = () => run(['check', '--config', config], { PATH: fail2ban.path });
    await expect
      .poll(() => check().out, { timeout: 120_000, interval: 5_000 })
      .toMatch(/error +fail2ban has banned 203\.0\.113\.7 without a report in .*\n +next: .*read-only/);

    writeFileSync(join(directory, 'bans', 'bans.log'), 'nonsense\n');
    expect(check().out).toMatch(/error +1 line of .*bans\.log can't be read, so these bans are not recorded/);

    fail2ban.client('set', 'posternproxy', 'unbanip', '203.0.113.7');
    await compared.compare();
    expect(compared.missing).toEqual([]);
  }, 180_000);
});
