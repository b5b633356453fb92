import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bound } from '../../../src/commands/replay.js';
import { hostInstant, hostZone } from '../../../src/fail2ban/host-time.js';
import { DaemonRig } from '../../daemon/daemon-fixture.js';
import { CLI, run } from '../cli.js';

const there = spawnSync('script', ['--version']).status === 0;
if (!there && process.env.CI !== undefined) throw new Error('script is missing: apt-get install bsdutils');
if (!there)
  console.warn('SKIPPED what commands print on a terminal: script is missing (apt-get install bsdutils)');

let rig: DaemonRig;
beforeAll(async () => {
  rig = new DaemonRig();
  rig.configure(
    `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${rig.directory}/archive } }`,
  );
  const insert = rig.db.prepare(
    "INSERT INTO audit_log (created_at, action, resource_type, ip_address, user_name, details) VALUES (?, 'update', 'proxy_host', '203.0.113.7', 'ann', ?)",
  );
  // The hour that New York repeats: 01:30 twice.
  insert.run('2020-11-01 05:30:00', '{}');
  insert.run('2020-11-01 06:30:00', '{}');
  insert.run('2026-11-22 20:21:00', JSON.stringify({ text: 'y'.repeat(500) }));
  await rig.start();
  await rig.until(({ sinks }) => sinks.audit?.cursors.postern?.id === 3, 'shipped');
  await rig.durable(3);
  expect(run(['token', 'create', 'reader', '--expires', '90d', '--config', rig.configPath]).code).toBe(0);
  expect(run(['retain', '--now', '--config', rig.configPath]).out).toMatch(
    /^2 rows removed, 2 archives|^2 rows removed, 1 archive /,
  );
});
afterAll(() => rig.close());

/** What a command prints on a terminal of so many columns, in a zone. */
function onTerminal(args: readonly string[], zone: string, columns = 300): string {
  const words = [process.execPath, CLI, ...args, '--config', rig.configPath].map((word) => `'${word}'`);
  const line = `stty cols ${columns} rows 40; exec ${words.join(' ')}`;
  const { stdout } = spawnSync('script', ['-qec', line, '/dev/null'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, TZ: zone, NO_COLOR: '1', TERM: 'xterm' },
  });
  return stdout.replaceAll('\r\n', '\n');
}

const COMMANDS: ReadonlyArray<readonly string[]> = [
  ['query', '--resource-type', 'proxy_host'],
  ['tail', '--no-follow'],
  ['explain', '3'],
  ['status'],
  ['token', 'list'],
  ['archive', 'list'],
  ['retain', '--now'],
];
const TIME = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?/g;
const UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

/** All times in what is for people; what stands in quotes is part of a line of JSON, as it is. */
const timesIn = (text: string) => text.replace(/"[^"]*"/g, '').match(TIME) ?? [];

describe.skipIf(!there)('times that commands print', () => {
  it.each(COMMANDS)('%s %s: local with the offset on a terminal, else UTC', (...words) => {
    const args = words.filter((word) => word !== undefined);
    const local = timesIn(onTerminal(args, 'Asia/Kolkata'));
    expect(local.length).toBeGreaterThan(0);
    for (const time of local) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30$/);
    const piped = timesIn(run([...args, '--config', rig.configPath], { TZ: 'Asia/Kolkata' }).out);
    for (const time of piped) expect(time).toMatch(UTC);
    if (args[0] !== 'retain')
      expect(local.map((time) => Date.parse(time))).toEqual(piped.map((time) => Date.parse(time)));
  });

  it('are UTC on a terminal too with --utc', () => {
    for (const args of [
      ['query', '--resource-type', 'proxy_host'],
      ['status', '--verbose'],
    ]) {
      const forced = timesIn(onTerminal([...args, '--utc'], 'Asia/Kolkata'));
      expect(forced.length).toBeGreaterThan(0);
      for (const time of forced) expect(time).toMatch(UTC);
    }
  });

  it('are distinct when the clock shows the same time twice', () => {
    const times = timesIn(
      onTerminal(['query', '--from', '2020-11-01', '--to', '2020-11-02'], 'America/New_York'),
    );
    expect(times).toEqual(['2020-11-01T01:30:00-05:00', '2020-11-01T01:30:00-04:00']);
  });

  it('are read as UTC when they have no zone, by replay too', () => {
    const zone = process.env.TZ;
    process.env.TZ = 'Asia/Kolkata';
    expect(bound('2026-11-22T20:21')).toEqual({ time: Date.UTC(2026, 10, 22, 20, 21) });
    expect(bound('2026-11-22 20:21:30Z')).toEqual({ time: Date.UTC(2026, 10, 22, 20, 21, 30) });
    expect(bound('2026-11-22T20:21:00+05:30')).toEqual({ time: Date.UTC(2026, 10, 22, 14, 51) });
    expect(bound('2026-11-22')).toEqual({ time: Date.UTC(2026, 10, 22) });
    expect(() => bound('2026-11-22T25:00')).toThrow(/Give a row id, or a date/);
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  });

  it('of fail2ban are in the zone of the host, whatever the zone of the caller', () => {
    expect(hostInstant('2026-07-01 20:21:00', 'Europe/Berlin')).toBe(Date.UTC(2026, 6, 1, 18, 21));
    expect(hostInstant('2026-11-22 20:21:00', 'UTC')).toBe(Date.UTC(2026, 10, 22, 20, 21));
    expect(hostInstant('', 'UTC')).toBeNaN();
  });

  it('of fail2ban are UTC on a host without /etc/localtime', () => {
    const { TZ } = process.env;
    try {
      process.env.TZ = 'Asia/Tokyo';
      expect(hostZone('/not/there/localtime')).toBe('UTC');
    } finally {
      if (TZ === undefined) delete process.env.TZ;
      else process.env.TZ = TZ;
    }
  });
});

describe.skipIf(!there)('a terminal of 60 columns', () => {
  const widest = (text: string) => Math.max(...text.split('\n').map((line) => [...line].length));

  it('shows every entry in full, folded', () => {
    const text = onTerminal(['query', '--resource-type', 'proxy_host', '--limit', '1'], 'UTC', 60);
    expect(widest(text)).toBeLessThanOrEqual(60);
    expect(text).toMatch(
      /^postern:3 {2}2026-11-22T20:21:00\+00:00 {2}proxy_host\.update\n {2}by ann {2}from 203\.0\.113\.7 {2}on proxy_host\n {2}\{"text":"y+\n {2}y+/,
    );
  });

  it('gets one line per sink, with units and ages', () => {
    const text = onTerminal(['status'], 'UTC', 60);
    expect(widest(text)).toBeLessThanOrEqual(60);
    const wide = onTerminal(['status'], 'UTC');
    expect(wide).toMatch(
      /^sink audit: waiting for events, all delivered, file [\d.]+ KB, [\d.]+ [GT]B free$/m,
    );
    expect(wide).toMatch(/^sink auth: waiting for events, looked \d+ s ago, file \d+ B$/m);
    expect(wide.match(/^sink .*\n(?! {2})/gm)).toHaveLength(2);
    expect(onTerminal(['status', '-v'], 'UTC')).toMatch(
      /^sink audit: .*\n {2}file, exactly once, required; .*\n {2}delivered up to postern:3, auditd:\d+\n {2}file .*free [\d.]+ [GT]B.*written [\d,]+/m,
    );
  });

  it('is redrawn by status --watch, which continues while the daemon is stopped', async () => {
    const words = [process.execPath, CLI, 'status', '--watch', '1', '--config', rig.configPath];
    const { stdout } = spawnSync(
      'script',
      ['-qec', `stty cols 60; timeout --signal=INT 3 ${words.join(' ')}`, '/dev/null'],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const screens = stdout.split('\u001b[H\u001b[J').slice(1);
    expect(screens.length).toBeGreaterThanOrEqual(2);
    for (const screen of screens) expect(screen).toMatch(/^postern-auditd .*sink audit: .*every 1 s/s);
  });
});
