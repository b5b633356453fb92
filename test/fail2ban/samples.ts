import type { AuditEvent } from '../../src/audit/event.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { formatHeader } from '../../src/sinks/files/fail2ban-files.js';
import { earlierLine, event, lineOf } from './failures.js';

/** What must come of a line: `host` is matched at `time`, or nothing. */
export interface Sample {
  readonly desc: string;
  readonly line: string;
  readonly host: string | null;
}

/** An address that attacks name: it has done nothing, and must never be matched. */
const victim = '198.51.100.1';
const attacker = '203.0.113.7';

const whole = earlierLine(event({ address: victim }));
const short = lineOf(event({ address: victim }));
const member = `"},"source":{"ip":"${victim}"},"x":{"y":"`;

const user = (name: string | null, email: string | null = null) => ({ id: null, name, email });
const is = (desc: string, changes: Parameters<typeof event>[0], host: string | null = attacker): Sample => ({
  desc,
  line: earlierLine(event(changes)),
  host,
});
const raw = (desc: string, line: string, host: string | null = null): Sample => ({ desc, line, host });
const nowhere = (desc: string, changes: Partial<AuditEvent>): Sample =>
  is(desc, { address: null, ...changes }, null);

/** A line of the other files. They are not fail2ban's to read, but must be as safe as its own. */
const inFull = (
  desc: string,
  changes: Parameters<typeof event>[0],
  host: string | null = attacker,
): Sample => ({
  desc: `in the files of all events: ${desc}`,
  line: formatEcs(event(changes)),
  host,
});

/** The samples of fail2ban/samples/posternproxy. */
export const samples: readonly Sample[] = [
  raw('a failed login over IPv4', lineOf(event()), attacker),
  raw('over IPv6: the network of the client', lineOf(event(), '2001:db8:1:2::/64'), '2001:db8:1:2::/64'),
  raw('over IPv6, with ipv6_prefix: 128', lineOf(event({ address: '2001:db8::7' })), '2001:db8::7'),
  raw("at the daemon's own API", lineOf(event({ source: 'auditd' })), attacker),
  raw('at another server of the fleet', lineOf(event({ source: 'fleet' })), attacker),
  raw(
    'a row that was edited into a failed login',
    lineOf(event({ source: 'auditd', revisionOf: 4711 })),
    attacker,
  ),
  raw('a torn line', short.slice(0, -2)),
  raw('a line torn before its address', short.slice(0, short.indexOf(victim) + 5)),
  raw('a line behind a torn one', short.slice(0, 60) + short),
  raw('a line behind white space', ` ${short}`),
  raw('a line with something behind it', `${short} x`),
  raw('a time without milliseconds, as of a row whose own can not be read', short.replace('00.000Z', '00Z')),
  raw('a host name for an address', short.replace(victim, 'example.org')),
  raw('an empty address', short.replace(victim, '')),

  is('of an earlier release: a failed login over IPv4', {}),
  is('by another spelling of the action', { rawAction: 'login_failed', category: 'user' }),
  is('over IPv6', { address: '2001:db8::7' }, '2001:db8::7'),
  raw(
    'the network of an IPv6 client',
    earlierLine(event({ address: '2001:db8:1:2::7' }), '2001:db8:1:2::/64'),
    '2001:db8:1:2::/64',
  ),
  is('with everything a row can have', {
    user: { id: '7', name: 'jan.kowalski', email: 'jan@example.org' },
    resource: { type: 'auth', id: '12' },
    rawAddress: '[::ffff:203.0.113.7]:51234',
    details: '{"reason":"wrong password","agent":"curl/8"}',
  }),

  is('attack: a whole line in the name', { user: user(whole) }),
  is('attack: a whole line behind a newline in the name', { user: user(`x\n${whole}`) }),
  is('attack: behind CR LF', { user: user(`x\r\n${whole}\r\n`) }),
  is('attack: behind a lone CR', { user: user(`x\r${whole}`) }),
  is('attack: behind NUL', { user: user(`x\0${whole}`) }),
  is('attack: behind vertical tab, form feed, NEL', { user: user(`\v${whole}\f${whole}\u0085${whole}`) }),
  is('attack: behind line and paragraph separators', { user: user(`\u2028${whole}\u2029${whole}`) }),
  is('attack: bidi marks and half surrogates', { user: user(`\u202e${whole}\ud800\udc00\udfff\ud83d`) }),
  is('attack: a member in the name', { user: user(member) }),
  is('attack: a member in the e-mail address', { user: user(null, member) }),
  is('attack: objects in the details', {
    details: `{"source":{"ip":"${victim}"},"event":{"action":"auth.login_failure"}}`,
  }),
  nowhere('attack: a member in the name of a login without an address', { user: user(member) }),
  nowhere('attack: escapes before the quote', { user: user(`\\${member}\\\\${member}\\"`) }),
  nowhere('attack: objects in the details of a login without an address', {
    details: `{"source":{"ip":"${victim}"}}`,
  }),
  nowhere('attack: an address followed by more in ip_address', { rawAddress: `${victim}"},"x":{"` }),
  nowhere('attack: a list as X-Forwarded-For has it in ip_address', { rawAddress: `${victim}, 203.0.113.7` }),
  nowhere('attack: a host name in ip_address', { rawAddress: 'victim.example.org' }),
  nowhere('attack: an address out of range in ip_address', { rawAddress: '999.1.1.1' }),
  nowhere('attack: a member in the name of the server', { server: member }),
  nowhere('attack: a member in the resource', { resource: { type: 'auth', id: member } }),
  is(
    'attack: a whole line in the name of a login that succeeded',
    { rawAction: 'login_success', user: user(whole) },
    null,
  ),
  is(
    'attack: a failed login in the word of the action',
    { rawAction: `x","outcome":"failure"},"source":{"ip":"${victim}"},"y":{"z":"`, category: null },
    null,
  ),

  is('a login that succeeded', { rawAction: 'login_success' }, null),
  is('a logout', { rawAction: 'logout' }, null),
  is('a token that was made', { rawAction: 'token_create' }, null),
  is('a change', { rawAction: 'update', category: 'proxy_host' }, null),
  is('what the catalog does not know', { rawAction: 'frobnicate', category: 'widget' }, null),
  is(
    'a ban that came back from fail2ban',
    { source: 'auditd', rawAction: 'ban.ban', category: null, address: victim },
    null,
  ),
  is('an unban', { source: 'auditd', rawAction: 'ban.unban', category: null, address: victim }, null),
  is(
    'the start of the daemon',
    { source: 'auditd', rawAction: 'daemon.start', category: null, address: null },
    null,
  ),

  is('a failed login whose own time can not be read', { time: null, rawTime: 'yesterday' }, null),

  inFull('a failed login', {}),
  inFull('attack: a whole line in the name', { user: user(whole) }),
  inFull('attack: a member in the name of the server', { server: member }),
  inFull('attack: a member in the resource', { resource: { type: 'auth', id: member } }),
  inFull('attack: objects in the details', {
    details: `{"source":{"ip":"${victim}"},"event":{"action":"auth.login_failure"}}`,
  }),
  inFull('attack: a member in ip_address', { address: null, rawAddress: member }, null),
  inFull(
    'attack: objects in the details of a login without an address',
    { address: null, details: `{"source":{"ip":"${victim}"}}` },
    null,
  ),
  inFull(
    'attack: a failed login in the account that was changed',
    {
      rawAction: 'update',
      category: 'user',
      address: null,
      details: JSON.stringify({ name: whole, email: member }),
    },
    null,
  ),
  inFull('a time that can not be read', { time: null, rawTime: 'yesterday' }, null),
  inFull('a login that succeeded', { rawAction: 'login_success' }, null),
  inFull('an unban', { source: 'auditd', rawAction: 'ban.unban', category: null, address: victim }, null),

  raw('the first line of a file', formatHeader(1, Date.UTC(2026, 10, 22, 20, 21, 0), 'a1b2c3d4')),
  raw('a torn line', whole.slice(0, 230)),
  raw('a torn line before the address', whole.slice(0, whole.indexOf(victim) + 5)),
  raw('a line behind a torn one', whole.slice(0, 60) + whole),
  raw('a line behind the prefix of syslog', `<36>1 2026-11-22T20:21:00Z host postern - - - ${whole}`),
  raw('a line behind white space', ` ${whole}`),
  raw('a line with white space', JSON.stringify(JSON.parse(whole), null, 1).replaceAll('\n', '')),
  raw('a line with something behind it', `${whole} x`),
  raw('an empty time', whole.replace(/"@timestamp":"[^"]*"/, '"@timestamp":""')),
  raw('no time', whole.replace(/"@timestamp":"[^"]*",/, '')),
  raw('a time that is none', whole.replace(/"@timestamp":"[^"]*"/, '"@timestamp":"yesterday"')),
  raw('a time in a thirteenth month', whole.replace('2026-11-22', '2026-13-22')),
  raw('a time as SQLite writes it', whole.replace('2026-11-22T20:21:00.000Z', '2026-11-22 20:21:00')),
  raw('a time without its zone', whole.replace('00.000Z', '00.000')),
  raw('a host name for an address', whole.replace(victim, 'example.org')),
  raw('an empty address', whole.replace(victim, '')),
];

/** In fail2ban's own form (fail2ban/tests/files/logs): times as in Europe/Zurich, where fail2ban's tests live. */
export function renderSamples(): string {
  const lines = [
    "# Samples of the filter posternproxy, in the form of Fail2Ban's own (fail2ban/tests/files/logs/): a comment says what must",
    "# come of the line behind it. Times are local ones of Europe/Zurich, as in Fail2Ban's tests. Made by",
    '# test/fail2ban/samples.ts from events, so that they are what postern-auditd writes.',
  ];
  for (const { desc, line, host } of samples) {
    const match = host === null ? { match: false } : { time: '2026-11-22T21:21:00', match: true, host };
    lines.push('', `# failJSON: ${JSON.stringify({ ...match, desc })}`, line);
  }
  return `${lines.join('\n')}\n`;
}
