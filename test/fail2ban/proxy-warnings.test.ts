import { expect, it } from 'vitest';
import { bannedLogins, type LoginCount, loginFindings } from '../../src/fail2ban/proxy-warnings.js';

const counts = (logins: Record<string, number>): LoginCount[] =>
  Object.entries(logins).map(([address, n]) => ({ address, logins: n }));

it.each<[string, Record<string, number>, string[], string[], RegExp[]]>([
  ['nothing to say of many clients', { '203.0.113.1': 3, '203.0.113.2': 3, '203.0.113.3': 3 }, [], [], []],
  ['nothing to say without logins', {}, [], [], []],
  ['exactly half is not more than half', { '203.0.113.1': 5, '203.0.113.2': 5 }, [], [], []],
  [
    'more than half from one address',
    { '203.0.113.1': 6, '203.0.113.2': 5 },
    [],
    [],
    [/^6 of 11 successful logins came from 203\.0\.113\.1: more than half/],
  ],
  ['too few logins to tell', { '203.0.113.1': 4 }, [], [], []],
  ['never banned, so never locked out', { '203.0.113.1': 60 }, ['203.0.113.0/24'], [], []],
  [
    'a container bridge by its usual address',
    { '172.17.0.1': 1 },
    [],
    [],
    [/172\.17\.0\.1, a container bridge/],
  ],
  [
    'a container bridge of this host',
    { 'fd00:1::1': 1 },
    [],
    ['fd00:1::/64'],
    [/fd00:1::1, a container bridge/],
  ],
  ['a proxy on this host', { '127.0.0.1': 1 }, [], [], [/this host itself/]],
  [
    'a private address',
    { '192.168.1.5': 1, '203.0.113.1': 2 },
    [],
    [],
    [/^1 of 3 .* private addresses: 192\.168\.1\.5$/],
  ],
  ['a private address says it once', { '192.168.1.5': 9 }, [], [], [/more than half/]],
  [
    'many private addresses in one line',
    Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`10.0.0.${i + 2}`, 1])),
    [],
    [],
    [/10\.0\.0\.2, 10\.0\.0\.3, 10\.0\.0\.4, 10\.0\.0\.5, 10\.0\.0\.6 and 3 more$/],
  ],
])('%s', (_, logins, neverBan, bridges, expected) => {
  const found = loginFindings(counts(logins), neverBan, bridges);
  expect(found).toHaveLength(expected.length);
  found.forEach((finding, i) => {
    expect(finding.level).toBe('warning');
    expect(finding.what).toMatch(expected[i] ?? /^$/);
    expect(finding.next).toContain('fail2ban.never_ban');
  });
});

it('warns of a banned network that somebody has logged in from, and of no other ban', () => {
  const logins = counts({ '2001:db8:1:2::7': 3, '2001:db8:1:3::7': 1, '203.0.113.7': 2 });
  const found = bannedLogins(logins, ['2001:db8:1:2::/64', '2001:db8:9::/64', '203.0.113.7']);
  expect(found).toEqual([
    {
      level: 'warning',
      what: '2001:db8:1:2::/64 is banned, and successful logins came from it: 2001:db8:1:2::7',
      next: expect.stringContaining('postern-auditd unban 2001:db8:1:2::/64'),
    },
  ]);
});
