import { expect, it } from 'vitest';
import { editConfig } from '../../src/config/edit-file.js';
import { parseConfig } from '../../src/config/load.js';

const FILE = 'config.yml';
const edit = (text: string, ...neverBan: string[]) => editConfig(text, { neverBan }, FILE);

it('an address in a listed network changes nothing', () => {
  const text = 'fail2ban: { never_ban: [10.0.0.0/8, "fd00::/8"] }\n';
  expect(edit(text, '10.1.2.3', 'fd00::5', '10.0.0.0/8')).toEqual({ text, changes: [] });
});

it('an edited list keeps the defaults that it replaces', () => {
  const { text, changes } = edit('', '198.51.100.7');
  expect(changes).toEqual(['fail2ban.never_ban: 198.51.100.7']);
  expect(parseConfig(text, FILE).fail2ban.never_ban).toEqual(['127.0.0.0/8', '::1', '198.51.100.7']);
});

it('sets the ban action and whether bans are wanted, in place or as the first key of its section', () => {
  const text = 'fail2ban:\n  banaction: iptables-multiport # ours\n';
  const edits = { banaction: 'nftables-multiport', fail2ban: false };
  const { text: edited, changes } = editConfig(text, edits, FILE);
  expect(edited).toBe('fail2ban:\n  enabled: false\n  banaction: nftables-multiport # ours\n');
  expect(changes).toEqual(['fail2ban.banaction: nftables-multiport', 'fail2ban.enabled: false']);
  expect(editConfig(edited, edits, FILE)).toEqual({ text: edited, changes: [] });
});

it.each([
  [
    'a list in brackets',
    '# top\nfail2ban:\n  never_ban: [127.0.0.1]   # ours\n  ports: [81] # not 80\n',
    '# top\nfail2ban:\n  never_ban: [127.0.0.1, 198.51.100.7]   # ours\n  ports: [81] # not 80\n',
  ],
  [
    'a list with dashes',
    'fail2ban:\n    never_ban:\n      - 127.0.0.1 # host\n      # office\n      - "::1"\n\n# end\n',
    'fail2ban:\n    never_ban:\n      - 127.0.0.1 # host\n      # office\n      - "::1"\n      - 198.51.100.7\n\n# end\n',
  ],
  [
    'a section without the key',
    'fail2ban:\n  # ports\n  ports: [81]\n',
    'fail2ban:\n  # ports\n  never_ban: [127.0.0.0/8, "::1", 198.51.100.7]\n  ports: [81]\n',
  ],
  [
    'a section in braces',
    'fail2ban: { ports: [81] }\nmin_free: 2G\n',
    'fail2ban: { never_ban: [127.0.0.0/8, "::1", 198.51.100.7], ports: [81] }\nmin_free: 2G\n',
  ],
  [
    'no section, and no newline at the end',
    'min_free: 2G # of 20G',
    'min_free: 2G # of 20G\nfail2ban:\n  never_ban: [127.0.0.0/8, "::1", 198.51.100.7]\n',
  ],
])('adds an address to %s, and everything else stays unchanged', (_, text, expected) => {
  expect(edit(text, '198.51.100.7').text).toBe(expected);
});

it.each([
  ['a section without a value', 'fail2ban: {}\n'],
  ['a list over many lines', 'fail2ban:\n  never_ban: [\n    127.0.0.1, # a\n    "::1"\n  ]\n'],
  ['an empty list', 'fail2ban:\n  never_ban: []\n'],
  ['a section at the end of the file', 'min_free: 2G\nfail2ban:\n  ports: [81]'],
  ['an anchor', 'fail2ban:\n  never_ban: &x [127.0.0.1]\n'],
])('adds addresses to %s', (_, text) => {
  const edited = edit(text, '198.51.100.7', '2001:DB8::/32').text;
  expect(parseConfig(edited, FILE).fail2ban.never_ban).toEqual([
    ...parseConfig(text, FILE).fail2ban.never_ban,
    '198.51.100.7',
    '2001:db8::/32',
  ]);
  expect(parseConfig(edited, FILE)).toMatchObject({ min_free: parseConfig(text, FILE).min_free });
});

it('writes the database in its place, with quotes if YAML needs them', () => {
  const text = 'source:\n  database: /a.db # there\n';
  expect(editConfig(text, { database: '/b: c.db' }, FILE).text).toBe(
    'source:\n  database: "/b: c.db" # there\n',
  );
  expect(editConfig(text, { database: '/a.db' }, FILE).changes).toEqual([]);
});

it.each([
  ['a file that is already invalid', 'fail2bann: {}\n', { neverBan: ['192.0.2.1'] }, 'CONFIG_INVALID'],
  ['a relative path', '', { database: 'posternproxy.db' }, 'CONFIG_INVALID'],
  ['a host name', '', { neverBan: ['example.org'] }, 'USAGE'],
  ['an invalid prefix', '', { neverBan: ['10.0.0.0/99'] }, 'CONFIG_INVALID'],
])('rejects %s', (_, text, edits, code) => {
  expect(() => editConfig(text, edits, FILE)).toThrow(expect.objectContaining({ code }));
});
