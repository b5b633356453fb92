import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DaemonRig, linesOf } from '../daemon/daemon-fixture.js';
import { type Ran, run } from './cli.js';
import { hasFail2ban } from './private-fail2ban.js';

const fail2ban = hasFail2ban();
if (!fail2ban) console.warn('SKIPPED: fail2ban is not installed: what the filter says of an event');

let rig: DaemonRig;
const explain = (...args: string[]): Ran => run(['explain', '--config', rig.configPath, ...args]);

beforeAll(async () => {
  rig = new DaemonRig({ extra: 'redact: { mode: hmac }' });
  rig.record({
    action: 'auth.login_failure',
    address: '203.0.113.7',
    user: { name: 'eve\u202e"},"source":{"ip":"198.51.100.1"}' },
  });
  rig.record({
    action: 'proxy_host.update',
    user: { id: 3, name: 'anna' },
    resourceId: 12,
    details: { domain: 'a.example' },
  });
  rig.record({ action: 'auth.login_failure', address: '203.0.113.8', time: Date.now() - 3_600_000 });
  rig.record({ action: 'auth.login_failure', address: '203.0.113.9', server: 'elsewhere' });
  rig.db
    .prepare(
      "INSERT INTO audit_log (action, created_at, ip_address) VALUES ('frob\u0007', 'yesterday', 'not one')",
    )
    .run();
  rig.db
    .prepare(`INSERT INTO audit_log (action, details) VALUES ('setting.update', '{"password":"hunter2"}')`)
    .run();
  await rig.start();
  await rig.shipped();
});
afterAll(() => rig.close());

describe('explain', () => {
  it('explain shows the row of a fresh failure, its sinks, that it counts, and its line', () => {
    const { code, out } = explain('1');
    expect(code).toBe(0);
    expect(out).toMatch(
      /^postern:1 {2}auth\.login_failure {2}Login failed\n {2}time {6}\d{4}-\S+Z \(\d+ s ago\)\n/,
    );
    expect(out).toContain('\n  address   203.0.113.7\n');
    expect(out).toContain('\n  user      eve\\u202e"},"source":{"ip":"198.51.100.1"}\n');
    expect(out).toMatch(/\n {2}id {8}[0-9a-f]{32}\n/);
    expect(out).toMatch(
      /\nSinks\n {2}audit {2}file {6}takes it: delivered\n {2}auth {3}fail2ban {2}takes it: delivered; it is fresh\n/,
    );
    if (fail2ban) expect(out).toContain('\nfail2ban\n  the filter matches: it counts against 203.0.113.7\n');
    expect(out).not.toMatch(/[^\P{C}\n]/u);
  });

  it('explain prints the same id as the log', () => {
    const written = rig.auditLines().find(({ source, sequence }) => source === 'postern' && sequence === 2);
    const { event_id, id } = JSON.parse(explain('postern:2', '--json').out) as {
      event_id: string;
      id: string;
    };
    expect([id, event_id]).toEqual(['postern:2', written?.id]);
  });

  it.each<[string, string, unknown[]]>([
    [
      'another event',
      '2',
      ['takes', null, 'delivered', 'does not take', 'it takes failed logins only', null],
    ],
    [
      'an old failure',
      '3',
      [
        'takes',
        null,
        'delivered',
        'takes',
        'if it arrived while it was fresh; now it would be withheld: its time is more than 50 s ago',
        '203.0.113.8',
      ],
    ],
    [
      'a failure at another server',
      '4',
      ['takes', null, 'delivered', 'withholds', 'it happened on another server', null],
    ],
    [
      'what nobody knows',
      '5',
      ['takes', null, 'delivered', 'does not take', 'it takes failed logins only', null],
    ],
  ])('%s', (_, id, expected) => {
    const { code, out } = explain(id, '--json');
    const { sinks, fail2ban: filter } = JSON.parse(out) as {
      sinks: Array<{ verdict: string; why: string | null; progress: string }>;
      fail2ban: { counts: string | null };
    };
    const [audit, auth] = sinks;
    const counts = fail2ban ? filter.counts : expected.at(-1);
    expect([audit?.verdict, audit?.why, audit?.progress, auth?.verdict, auth?.why, counts]).toEqual(expected);
    expect(code).toBe(0);
  });

  it('explain shows unreadable values without their control characters', () => {
    const { out } = explain('5');
    expect(out).toContain("\n  time      can't be read: yesterday\n");
    expect(out).toContain('\n  address   not an address: not one\n');
    expect(out).toContain('"frob\\x07"');
    expect(out).toMatch(/^postern:5 {2}\S+ {2}not in the catalog: an informational event\n/);
  });

  it('explain shows an event of the daemon itself', () => {
    expect(explain('auditd:1').out).toMatch(/^auditd:1 {2}daemon\.start {2}/);
  });

  it('explain shows no secret, and the same hash as the log', () => {
    const { out } = explain('6', '--format', 'ecs');
    expect(out).not.toContain('hunter2');
    const written = rig.auditLines().find(({ source, sequence }) => source === 'postern' && sequence === 6);
    expect(JSON.parse(out)).toMatchObject({ postern: { details: written?.details } });
    expect(JSON.stringify(written?.details)).toMatch(/hmac:/);
  });

  it('explain prints the bytes of the file in a format, except for the time of reading', () => {
    const directory = join(rig.place, 'audit');
    const [name = ''] = readdirSync(directory).filter((each) => each.startsWith('audit.'));
    const lines = readFileSync(join(directory, name), 'utf8').split('\n');
    const written =
      lines.find((line) => line.includes('"sequence":2,') && line.includes('"source":"postern"')) ?? '';
    const created = /"created":"[^"]*"/;
    const { out } = explain('2', '--format', 'ecs');
    expect(out.replace(created, '')).toBe(`${written.replace(created, '')}\n`);
    expect(explain('2', '--format', 'cef').out).toMatch(/^CEF:0\|Postern\|/);
    expect(linesOf(join(directory, name)).length).toBeGreaterThan(0);
  });

  it('explain reports a missing row', () => {
    const { code, err } = explain('99');
    expect(err).toBe(
      'postern-auditd: The table has no row postern:99: its highest is 6. Search the archives for it: postern-auditd archive list\n',
    );
    expect(code).toBe(1);
  });

  it('explain works without state.db, and names what is unknown', () => {
    const { code, out } = run(['explain', '2', '--config', rig.configPath], {
      POSTERN_AUDITD_STATE: '/not/there',
    });
    expect(out).toContain('\n  id        not known: /not/there/state.db does not exist: ');
    expect(out).toMatch(/\n {2}audit {2}file {6}takes it\n/);
    expect(code).toBe(0);
    expect(
      run(['explain', 'auditd:1', '--config', rig.configPath], { POSTERN_AUDITD_STATE: '/not/there' }).err,
    ).toMatch(/^postern-auditd: The daemon's own events can't be read: /);
  });
});
