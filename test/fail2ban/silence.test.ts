import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { proposeColumns } from '../../src/fail2ban/column-proposals.js';
import {
  adviceOn,
  type Clue,
  isAddressList,
  type Proposal,
  type RecentFailures,
  type RecentVerdicts,
  silenceOf,
  silenceOfVerdicts,
} from '../../src/fail2ban/silence.js';
import Database from '../../src/load-sqlite.js';

describe('whether failed logins reach fail2ban', () => {
  const none = (withheld: RecentFailures['withheld'], written = 0, servers: string[] = []) =>
    silenceOf({ written, withheld, servers })?.reason ?? null;

  it.each<[string, RecentFailures['withheld'], number, string[], string | null]>([
    ['all have no address', { no_address: 3 }, 0, [], 'no_address'],
    ['all have no readable time', { unreadable: 12 }, 0, [], 'unreadable'],
    ['all are ahead', { future: 4 }, 0, [], 'future'],
    ['all are late', { old: 4 }, 0, [], 'old'],
    ['most have no address', { no_address: 9 }, 8, [], 'no_address'],
    ['the most frequent reason counts', { no_address: 2, unreadable: 5 }, 0, [], 'unreadable'],
    ['half of them do', { no_address: 8 }, 8, [], null],
    ['a stray row', { no_address: 1 }, 0, [], null],
    ['two stray rows', { unreadable: 1, no_address: 1 }, 0, [], null],
    ['a stray row among others', { unreadable: 1 }, 20, [], null],
    ['nothing happened', {}, 0, [], null],
    ['all are in never_ban', { never_ban: 500 }, 0, [], null],
    ['those in never_ban hide nobody else', { never_ban: 500, no_address: 3 }, 0, [], 'no_address'],
    ['all name one other server', { other_server: 3 }, 0, ['3f2a9c1b7d04'], 'other_server'],
    ['two rows name another server', { other_server: 2 }, 0, ['b'], null],
    ['they name two other servers', { other_server: 50 }, 0, ['b', 'c'], null],
    ['some are of this server', { other_server: 50 }, 1, ['b'], null],
    ['some of this server are in never_ban', { other_server: 50, never_ban: 1 }, 0, ['b'], null],
    ['those of this server have no address', { other_server: 50, no_address: 3 }, 0, ['b'], 'no_address'],
  ])('%s', (_, withheld, written, servers, expected) => {
    expect(none(withheld, written, servers)).toBe(expected);
  });

  it('ignores failures of other servers on a hub, where all are of other servers', () => {
    expect(silenceOf({ written: 0, withheld: { other_server: 9 }, servers: ['b'] }, true)).toBeNull();
  });

  it.each<[string, RecentVerdicts, string | null]>([
    ['within the hour', { no_address: { ten_minutes: 0, hour: 3 } }, 'no_address'],
    [
      'mended within ten minutes',
      { no_address: { ten_minutes: 0, hour: 30 }, written: { ten_minutes: 1, hour: 1 } },
      null,
    ],
    [
      'not mended by one',
      { no_address: { ten_minutes: 5, hour: 30 }, written: { ten_minutes: 1, hour: 1 } },
      'no_address',
    ],
    ['late ones at once, as an import has them', { old: { ten_minutes: 900, hour: 900 } }, null],
    ['late ones that ended', { old: { ten_minutes: 0, hour: 900 } }, null],
    ['late ones that go on', { old: { ten_minutes: 2, hour: 9 } }, 'old'],
    [
      'late ones at once beside others',
      { old: { ten_minutes: 9, hour: 9 }, future: { ten_minutes: 3, hour: 3 } },
      'future',
    ],
    ['nothing decided', {}, null],
  ])('of what the sink decided: %s', (_, verdicts, expected) => {
    expect(silenceOfVerdicts(verdicts, [])?.reason ?? null).toBe(expected);
  });
});

describe('the advice', () => {
  const clue: Clue = { rawAddress: null, rawTime: null, server: 'here', aheadMs: null };
  const silence = { withheld: 12, total: 12 };
  const ip: Proposal = { key: 'ip_address', column: 'ip', example: '203.0.113.7' };

  it.each<[string, Parameters<typeof adviceOn>, RegExp, RegExp]>([
    [
      'another column',
      [{ reason: 'no_address', ...silence }, clue, [ip]],
      /all 12 recent ones have no client address, but column "ip" has "203\.0\.113\.7"$/,
      /^set source\.columns\.ip_address: ip$/,
    ],
    [
      'no column',
      [{ reason: 'no_address', ...silence }, clue],
      /no client address$/,
      /source\.columns\.ip_address/,
    ],
    [
      'a list',
      [{ reason: 'no_address', ...silence }, { ...clue, rawAddress: '203.0.113.7, 172.18.0.1' }, [ip]],
      /"203\.0\.113\.7, 172\.18\.0\.1"/,
      /source\.trusted_proxies/,
    ],
    [
      'local times',
      [
        { reason: 'future', ...silence },
        { ...clue, aheadMs: 7_200_000 },
      ],
      /ahead of this host's clock, by 120 min$/,
      /source\.time_zone/,
    ],
    [
      'late',
      [
        { reason: 'old', withheld: 8, total: 9 },
        { ...clue, aheadMs: -3_600_000 },
      ],
      /8 of 9.*behind.*60 min/,
      /source\.time_zone/,
    ],
    [
      'no time',
      [
        { reason: 'unreadable', ...silence },
        { ...clue, rawTime: 'yesterday' },
      ],
      /can't be read, such as "yesterday"$/,
      /source\.columns\.created_at/,
    ],
    [
      "a container's id",
      [
        { reason: 'other_server', ...silence },
        { ...clue, server: '3f2a9c1b7d04' },
      ],
      /name the server "3f2a9c1b7d04", and none names this one/,
      /fixed host name.*server:.*container's id/,
    ],
    [
      'another name',
      [
        { reason: 'other_server', ...silence },
        { ...clue, server: 'old-name' },
      ],
      /"old-name"/,
      /set server: "old-name"/,
    ],
  ])('on %s names the reason and the key', (_, parameters, what, next) => {
    const advice = adviceOn(...parameters);
    expect(advice.what).toMatch(what);
    expect(advice.next).toMatch(next);
  });

  it('tells a list of addresses from a text that only looks like one', () => {
    expect(isAddressList('203.0.113.7,2001:db8::1')).toBe(true);
    for (const text of ['203.0.113.7', 'a, b', '203.0.113.7, unknown', '', ',', '203.0.113.7,'])
      expect(isAddressList(text), text).toBe(false);
  });
});

describe('columns that look as if they should be mapped', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-proposals-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  let n = 0;

  function proposals(columns: string, values: string, rows = 5, source = ''): string[] {
    const db = new Database(join(directory, `${n++}.db`));
    db.exec(`CREATE TABLE audit_log (id INTEGER PRIMARY KEY, created_at TEXT, action TEXT, ${columns})`);
    for (let row = 0; row < rows; row++)
      db.exec(`INSERT INTO audit_log VALUES (NULL, '2026-11-30 10:00:00', 'x', ${values})`);
    const { source: config } = parseConfig(`source: { table: audit_log${source} }`, 'c.yml');
    const found = proposeColumns(db, config);
    db.close();
    return found.map(({ key, column }) => `${key}: ${column}`);
  }

  it.each<[string, string, string, string[]]>([
    ['addresses by their values, whatever the name', 'x TEXT', `'203.0.113.7'`, ['ip_address: x']],
    ['lists too', 'fwd TEXT', `'203.0.113.7, 172.18.0.1'`, ['ip_address: fwd']],
    ['times by their values', 'whenever TEXT', `'2026-11-30T10:00:00Z'`, ['created_at: whenever']],
    ['epochs under the name of a time', 'ts INTEGER', '1764496800', ['created_at: ts']],
    ['no number else', 'size INTEGER', '1764496800', []],
    ['an empty column by its name', 'client_ip TEXT', 'NULL', ['ip_address: client_ip']],
    ['no text that only sounds so', 'description TEXT, zip TEXT', `'some text', '12345'`, []],
    [
      'values before names',
      'remote_addr TEXT, y TEXT',
      `NULL, '2001:db8::7'`,
      ['ip_address: y', 'ip_address: remote_addr'],
    ],
    ['odd names', '"my ""ip" TEXT', `'203.0.113.7'`, ['ip_address: my "ip']],
    ['what is mapped is no proposal', 'ip_address TEXT', `'203.0.113.7'`, []],
  ])('%s', (_, columns, values, expected) => {
    expect(proposals(columns, values)).toEqual(expected);
  });

  it('finds columns by their names in a table without rows', () => {
    expect(proposals('ip TEXT, happened_at TEXT', 'NULL, NULL', 0)).toEqual([
      'ip_address: ip',
      'created_at: happened_at',
    ]);
  });
});
