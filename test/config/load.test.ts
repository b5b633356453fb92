import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { keysAt } from '../../src/config/json-schema.js';
import { loadConfig, parseConfig } from '../../src/config/load.js';
import { formatConfig } from '../../src/config/serialize.js';
import { AuditdError } from '../../src/errors.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-auditd-config-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function problemsOf(text: string, env: NodeJS.ProcessEnv = {}): string[] {
  try {
    parseConfig(text, 'c.yml', env);
  } catch (error) {
    if (!(error instanceof AuditdError)) throw error;
    expect(error.code).toBe('CONFIG_INVALID');
    const [head, ...rest] = error.message.split('\n');
    expect(head).toMatch(/^The configuration has (a problem|\d+ problems):$/);
    expect(rest.pop()).toBe('Correct it, then: postern-auditd config --check c.yml');
    return rest.map((line) => line.slice(2));
  }
  return [];
}

const TOP = keysAt([], {}).join(', ');
const AUTH = 'auth.login_success, auth.login_failure, auth.logout, auth.token_create, auth.token_delete';
const NETWORK = 'an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32';
const PATH = 'an absolute path (a service has no current directory)';

describe('a problem names its position, what was found and what is allowed', () => {
  it.each<[what: string, text: string, problem: string | string[]]>([
    // keys
    [
      'a misspelt key',
      'source:\n  pol_interval: 1s',
      'c.yml:2:3: source.pol_interval: found an unknown key. Did you mean poll_interval? Allowed here: database, table, poll_interval, columns, time_zone, trusted_proxies, aliases',
    ],
    [
      'an unknown time zone',
      'source:\n  time_zone: Europe/Berln',
      'c.yml:2:14: source.time_zone: found "Europe/Berln", allowed is the name of a time zone, such as UTC, Europe/Berlin or Asia/Kolkata',
    ],
    [
      'a dash for an underscore',
      'min-free: 1G',
      `c.yml:1:1: min-free: found an unknown key. Did you mean min_free? Allowed here: ${TOP}`,
    ],
    [
      'an unknown key that resembles no known key',
      'foo: 1',
      `c.yml:1:1: foo: found an unknown key. Allowed here: ${TOP}`,
    ],
    [
      'a key in the wrong section',
      'never_ban: []',
      `c.yml:1:1: never_ban: found an unknown key. It belongs under fail2ban. Allowed here: ${TOP}`,
    ],
    [
      'a top-level key in a section',
      'log:\n  min_free: 1G',
      'c.yml:2:3: log.min_free: found an unknown key. It belongs to the top. Allowed here: level, format, file',
    ],
    [
      'a misspelt key of a sink',
      'sinks:\n  a: { type: file, rol: {} }',
      'c.yml:2:20: sinks.a.rol: found an unknown key. Did you mean roll? Allowed here: type, directory, roll, max_line_size, mode, group, events, required, start',
    ],
    [
      'a key of another sink type',
      'sinks:\n  a:\n    type: fail2ban\n    roll: { every: 3d }',
      'c.yml:4:13: sinks.a.roll.every: found an unknown key. Allowed here: size',
    ],
    [
      'an invalid sink name',
      'sinks:\n  Audit: { type: file }',
      'c.yml:2:3: sinks.Audit: found the name "Audit", allowed are lower-case letters, digits, - and _, a letter first',
    ],
    [
      'a key that moves the cursor',
      '"\\e[2J": 1',
      `c.yml:1:1: "\\u001b[2J": found an unknown key. Allowed here: ${TOP}`,
    ],
    ['__proto__', 'sinks:\n  __proto__: { type: file }', 'c.yml:2:3: __proto__ is not allowed as a name'],
    // kinds of sinks
    [
      'a misspelt sink type',
      'sinks:\n  a:\n    type: fail2bam',
      /* its keys are not looked at */ 'c.yml:3:11: sinks.a.type: found "fail2bam", allowed is file, fail2ban, syslog, jetstream, http or webhook. Did you mean fail2ban?',
    ],
    [
      'a sink without a type',
      'sinks:\n  a: { directory: /x }',
      'c.yml:2:3: sinks.a.type: found nothing, allowed is file, fail2ban, syslog, jetstream, http or webhook',
    ],
    [
      'a url with a password, which is not repeated',
      'sinks:\n  a: { type: http, protocol: otlp, url: "https://u:geheim@h/v1/logs" }',
      'c.yml:2:41: sinks.a.url: write http:// or https:// with a host, and without user, password or #',
    ],
    [
      'a bulk url without its path, and without an index',
      'sinks:\n  a: { type: http, protocol: elasticsearch, url: "https://h:9200" }\n  b: { type: http, protocol: elasticsearch, url: "https://h:9200/_bulk" }',
      [
        'c.yml:2:50: sinks.a.url: the path must end with /_bulk: https://host:9200/_bulk',
        'c.yml:3:3: sinks.b.index: missing; name the index here, or in the url: https://host:9200/INDEX/_bulk',
      ],
    ],
    [
      'keys of another protocol over HTTP',
      'sinks:\n  a: { type: http, protocol: otlp, url: "http://h/v1/logs", index: x, tls: {} }',
      [
        'c.yml:2:68: sinks.a.index: protocol otlp does not have it; leave the key out',
        'c.yml:2:76: sinks.a.tls: the url has no TLS; write https://, or leave the key out',
      ],
    ],
    [
      'a secret in a header',
      'sinks:\n  a: { type: http, protocol: otlp, url: "http://h/v1/logs", headers: { DD-API-KEY: abc, Host: x } }',
      [
        'c.yml:2:84: sinks.a.headers.DD-API-KEY: a secret does not belong into the configuration; put it into a file and name it in auth',
        'c.yml:2:95: sinks.a.headers.Host: the sink sets this header itself; leave it out',
      ],
    ],
    [
      'a user without a password over HTTP',
      'sinks:\n  a: { type: http, protocol: otlp, url: "http://h/v1/logs", auth: { user: x, token: /t } }',
      [
        'c.yml:2:75: sinks.a.auth.user: user and password belong together',
        'c.yml:2:75: sinks.a.auth.user: token is set too; only one way to log in is allowed',
      ],
    ],
    ['an empty sink', 'sinks:\n  a:\n', 'c.yml:2:5: sinks.a: found an empty value, allowed is a mapping'],
    [
      'a word in place of the sinks',
      'sinks:\n',
      'c.yml:1:7: sinks: found an empty value, allowed is a mapping',
    ],
    // values
    [
      'a duration in words',
      'source: { poll_interval: 1 second }',
      'c.yml:1:26: source.poll_interval: found "1 second", allowed is a duration such as 500ms, 1s, 10m, 2h, 90d or 1y',
    ],
    [
      'an invalid age',
      'retention:\n  keep: { auth: 90 }',
      'c.yml:2:17: retention.keep.auth: found 90, allowed is a duration such as 500ms, 1s, 10m, 2h, 90d or 1y, or forever',
    ],
    [
      'a zero age',
      'retention:\n  keep: { default: 0d }',
      'c.yml:2:20: retention.keep.default: found "0d", allowed is a duration such as 500ms, 1s, 10m, 2h, 90d or 1y, or forever',
    ],
    [
      'an age that milliseconds cannot express exactly',
      'retention: { archive: { keep: 99999999999y } }',
      'c.yml:1:31: retention.archive.keep: found "99999999999y", allowed is a duration of at most 1000y, or forever',
    ],
    [
      'an age of an unknown category',
      'retention:\n  keep: { proxy_hosts: 1y }',
      'c.yml:2:11: retention.keep.proxy_hosts: found an unknown key. Did you mean proxy_host? Allowed here: default, auth, proxy_host, redirection_host, stream, dead_host, certificate, access_list, port_forward, user, setting, backup, ban, alert, daemon',
    ],
    [
      'a schedule with seconds',
      'retention:\n  schedule: "0 17 3 * * *"',
      'c.yml:2:13: retention.schedule: found "0 17 3 * * *", allowed is five fields of cron, UTC: minute hour day month weekday, such as "17 3 * * *"',
    ],
    [
      'a schedule of the 32nd',
      'retention:\n  schedule: "17 3 32 * *"',
      'c.yml:2:13: retention.schedule: found "17 3 32 * *", allowed is five fields of cron, UTC: minute hour day month weekday, such as "17 3 * * *"',
    ],
    [
      'archives in the log directory',
      'retention:\n  archive: { directory: /var/log/posternproxy/audit }',
      'c.yml:2:25: retention.archive.directory: found "/var/log/posternproxy/audit", the directory of sink audit; use a separate one',
    ],
    [
      'a duration without a unit',
      'fail2ban: { ban_time: 3600 }',
      'c.yml:1:23: fail2ban.ban_time: found 3600, allowed is a duration such as 500ms, 1s, 10m, 2h, 90d or 1y',
    ],
    [
      'a duration out of bounds',
      'source: { poll_interval: 0s }',
      'c.yml:1:26: source.poll_interval: found "0s", allowed is a duration from 10ms to 1h',
    ],
    [
      'an excessive duration',
      'fail2ban: { ban_time: 99999999999999999999y }',
      'c.yml:1:23: fail2ban.ban_time: found "99999999999999999999y", allowed is a duration of at most 1000y',
    ],
    [
      'a size in the wrong case',
      'min_free: 1g',
      'c.yml:1:11: min_free: found "1g", allowed is a size such as 64K, 100M or 2G',
    ],
    [
      'a zero size',
      'sinks: { a: { type: file, roll: { size: 0B } } }',
      'c.yml:1:41: sinks.a.roll.size: found "0B", allowed is a size above 0',
    ],
    [
      'a mode without quotes',
      'sinks:\n  a:\n    type: file\n    mode: 0640',
      'c.yml:4:11: sinks.a.mode: found 640, allowed is a file mode in octal and in quotes, such as "0640"',
    ],
    [
      'a world-writable mode',
      'sinks: { a: { type: file, mode: "0666" } }',
      'c.yml:1:33: sinks.a.mode: found "0666", allowed is a mode with which the daemon can read and write, and not every user can write',
    ],
    [
      'a word that is not a choice',
      'log: { level: verbose }',
      'c.yml:1:15: log.level: found "verbose", allowed is trace, debug, info, warn, error or fatal',
    ],
    [
      'yes, which is a text in YAML 1.2',
      'sinks: { a: { type: file, required: yes } }',
      'c.yml:1:37: sinks.a.required: found "yes", allowed is true or false',
    ],
    [
      'a number out of bounds',
      'fail2ban: { ports: [80, 65536] }',
      'c.yml:1:25: fail2ban.ports.1: found 65536, allowed is at most 65535',
    ],
    [
      'a fraction',
      'fail2ban: { ipv6_prefix: 64.5 }',
      'c.yml:1:26: fail2ban.ipv6_prefix: found 64.5, allowed is a whole number',
    ],
    [
      'an empty list',
      'fail2ban: { ports: [] }',
      'c.yml:1:20: fail2ban.ports: found an empty list, allowed is a list of at least 1',
    ],
    [
      'a text for a list',
      'fail2ban: { never_ban: 10.0.0.1 }',
      'c.yml:1:24: fail2ban.never_ban: found "10.0.0.1", allowed is a list',
    ],
    ['a list for a mapping', 'source: [a]', 'c.yml:1:9: source: found a list, allowed is a mapping'],
    ['a relative path', 'state: ./state', `c.yml:1:8: state: found "./state", allowed is ${PATH}`],
    [
      'an empty text',
      'source: { table: "" }',
      'c.yml:1:18: source.table: found "", allowed is text that is not empty',
    ],
    ['a file that is a list', '- source', 'c.yml:1:1: the file: found a list, allowed is a mapping'],
    ['a file that is a word', 'hello', 'c.yml:1:1: the file: found "hello", allowed is a mapping'],
    // keys that belong together
    [
      'a path too long for a socket',
      `control: /${'s'.repeat(107)}`,
      'c.yml:1:10: control: found a path of 108 bytes, allowed are 107 for a unix socket',
    ],
    [
      'two sinks in one directory',
      'sinks:\n  a: { type: file, directory: /var/log/x }\n  b: { type: file, directory: /var/log/y/../x/ }',
      'c.yml:3:31: sinks.b.directory: found "/var/log/y/../x/", the directory of sink a; use a separate one',
    ],
    [
      'a sink beside the database',
      'sinks: { a: { type: file, directory: /var/lib/posternproxy } }',
      'c.yml:1:38: sinks.a.directory: found "/var/lib/posternproxy", the directory of Postern\'s database; use a separate one',
    ],
    [
      'a sink beside the log of bans',
      'sinks:\n  a:\n    type: file\n    directory: /var/log/posternproxy/bans',
      'c.yml:4:16: sinks.a.directory: found "/var/log/posternproxy/bans", the directory of the log of bans (fail2ban.bans); use a separate one',
    ],
    [
      'a log directory in another',
      'sinks:\n  a: { type: fail2ban, directory: /var/log/x }\n  b: { type: file, directory: /var/log/y/../x/b }',
      'c.yml:3:31: sinks.b.directory: found "/var/log/y/../x/b", which lies inside the directory of sink a (/var/log/x); use one beside it',
    ],
    [
      "the daemon's log above those of the sinks",
      'log: { file: /var/log/x/own.log }\nsinks: { a: { type: file, directory: /var/log/x/a } }',
      'c.yml:2:38: sinks.a.directory: found "/var/log/x/a", which lies inside the directory of the daemon\'s log (log.file) (/var/log/x); use one beside it',
    ],
    [
      'two sinks for fail2ban',
      'sinks:\n  a: { type: fail2ban }\n  b: { type: fail2ban, directory: /var/log/b }',
      'c.yml:3:14: sinks.b.type: found a second sink of type fail2ban; only one is allowed (a), as there is one jail',
    ],
    [
      'an invalid address',
      'fail2ban:\n  never_ban:\n    - 192.0.2.7\n    - 192.0.2.256',
      `c.yml:4:7: fail2ban.never_ban.1: found "192.0.2.256", allowed is ${NETWORK}`,
    ],
    [
      'a prefix that is too long',
      'fail2ban: { never_ban: [192.0.2.0/33] }',
      `c.yml:1:25: fail2ban.never_ban.0: found "192.0.2.0/33", allowed is ${NETWORK}`,
    ],
    [
      'a host name',
      'fail2ban: { never_ban: [localhost] }',
      `c.yml:1:25: fail2ban.never_ban.0: found "localhost", allowed is ${NETWORK}`,
    ],
    [
      'a jail with a newline',
      'fail2ban: { jail: "a\\nb" }',
      'c.yml:1:19: fail2ban.jail: found "a\\nb", allowed is a name of at most 20 letters, digits, - and _, a letter first',
    ],
    [
      'an unknown category',
      'sinks: { a: { type: file, events: { category: [auht] } } }',
      expect.stringMatching(
        /^c\.yml:1:48: sinks\.a\.events\.category\.0: found "auht", which is not in the catalog of events\. Did you mean auth\? Allowed: auth, proxy_host, /,
      ) as string,
    ],
    [
      'an unknown action',
      'sinks: { a: { type: file, events: { action: [auth.login_failur] } } }',
      `c.yml:1:46: sinks.a.events.action.0: found "auth.login_failur", which is not in the catalog of events. Did you mean auth.login_failure? Allowed: ${AUTH}`,
    ],
    [
      'an action that is not in its category',
      'sinks: { a: { type: file, events: { action: [auth.zzzzzzzz] } } }',
      `c.yml:1:46: sinks.a.events.action.0: found "auth.zzzzzzzz", which is not in the catalog of events. Allowed: ${AUTH}`,
    ],
    [
      'an alias for an unknown action',
      'source: { aliases: { auth.login_failur: [x] } }',
      `c.yml:1:22: source.aliases.auth.login_failur: found "auth.login_failur", which is not in the catalog of events. Did you mean auth.login_failure? Allowed: ${AUTH}`,
    ],
    [
      'an alias that means another event',
      'source: { aliases: { auth.login_failure: [auth.login_success] } }',
      'c.yml:1:43: source.aliases.auth.login_failure.0: found "auth.login_success", which already means auth.login_success; use another spelling',
    ],
    [
      'an alias of two events',
      'source:\n  aliases:\n    auth.login_failure: [denied]\n    auth.logout: [denied]',
      'c.yml:4:19: source.aliases.auth.logout.0: found "denied", which already means auth.login_failure; use another spelling',
    ],
    // YAML itself
    [
      'a duplicate key',
      'log: { level: info }\nstate: /x\nlog: { level: warn }',
      'c.yml:3:1: log appears here a second time (first in line 1); keep one of them',
    ],
    ['a tab', 'source:\n\tdatabase: /x', 'c.yml:2:1: a tab; lines are indented with spaces only'],
    ['an unclosed quote at the end', 'server: "x', 'c.yml:1:11: missing closing "quote'],
    [
      'an alias without its anchor',
      'log: *x',
      'c.yml:1:6: this alias has no anchor (&name) of its name above it; text that begins with * needs quotes',
    ],
    [
      'a value that begins with a bracket',
      'server: ]x',
      'c.yml:1:9: this does not belong here; is a quote, a bracket or a colon missing before it?',
    ],
    [
      'two keys on a line',
      'log: level: info',
      'c.yml:1:6: a second key: value on one line; put it on a line of its own, or the value in quotes',
    ],
    [
      'a tag',
      'server: !secret x',
      'c.yml:1:9: a tag (!name) that is not known; text that begins with ! needs quotes',
    ],
    ['a key that is a list', '? [a]\n: 1', 'c.yml:1:3: a key that is not text'],
    [
      'a document of YAML 1.1, where yes is true',
      '%YAML 1.1\n---\nserver: x',
      'c.yml:1:1: found %YAML 1.1, allowed is 1.2; leave the line out',
    ],
    [
      'a second document',
      'server: x\n---\nserver: y',
      'c.yml:2:1: a second document (---); a configuration has one',
    ],
    // several, in the order of the file
    [
      'several problems',
      'sinks:\n  a: { type: file, directory: /var/log/x, mode: 0640 }\n  b: { type: file, directory: /var/log/x }\nlog: { levle: info }',
      [
        'c.yml:2:49: sinks.a.mode: found 640, allowed is a file mode in octal and in quotes, such as "0640"',
        'c.yml:3:31: sinks.b.directory: found "/var/log/x", the directory of sink a; use a separate one',
        'c.yml:4:8: log.levle: found an unknown key. Did you mean level? Allowed here: level, format, file',
      ],
    ],
    [
      'keys under an anchor',
      'log: &l { level: loud }\nredact: *l',
      [
        'c.yml:1:11: redact.level: found an unknown key. It belongs under log. Allowed here: keys, mode',
        'c.yml:1:18: log.level: found "loud", allowed is trace, debug, info, warn, error or fatal',
      ],
    ],
  ])('reports %s with its position', (_, text, problem) => {
    expect(problemsOf(text)).toEqual(Array.isArray(problem) ? problem : [problem]);
  });

  it('lists at most 30 problems', () => {
    const problems = problemsOf(Array.from({ length: 100 }, (_, at) => `wrong${at}: 1`).join('\n'));
    expect(problems).toHaveLength(31);
    expect(problems.at(-1)).toBe('and 70 more');
  });
});

describe('the envelope of a syslog sink', () => {
  it.each([
    ['', 'rfc5424'],
    ['format: cef', 'rfc5424'],
    ['format: leef', 'rfc3164'],
    ['format: leef, envelope: rfc5424', 'rfc5424'],
    ['format: ecs, envelope: rfc3164', 'rfc3164'],
    ['format: leef, bom: true', 'rfc5424'],
    ['format: leef, structured_data: { id: "audit@32473" }', 'rfc5424'],
  ])('with { %s } is %s', (more, expected) => {
    const text = `sinks: { s: { type: syslog, transport: relp, targets: ["a:1"], ${more} } }`;
    expect(parseConfig(text, 'c.yml').sinks.s).toMatchObject({ envelope: expected });
  });
});

describe('values that may be secret are not repeated', () => {
  const siem = (more: string) => `sinks: { s: { type: syslog, transport: relp, targets: ["a:1"], ${more} } }`;
  it.each([
    ['a private key in place of its path', siem('tls: { key: [hunter2], cert: /x }')],
    ['a syntax error in a line with a password', 'password: hunter2: hunter2'],
    ['an unclosed quote', 'password: "hunter2'],
    ['an unknown key', 'password: hunter2'],
    ['a password in an address', 'log: { level: "nats://me:hunter2@host" }'],
    ['text of several lines', 'log: { level: "-----BEGIN\\nhunter2" }'],
    ['an alias', 'password: *hunter2'],
    ['a tag', 'password: !hunter2 x'],
  ])('does not repeat the value: %s', (_, text) => {
    const problems = problemsOf(text);
    expect(problems).not.toEqual([]);
    expect(problems.join('\n')).not.toContain('hunter2');
  });
});

describe('accepted configurations', () => {
  it.each([
    ['nothing', ''],
    ['comments', '# nothing\n'],
    ['an empty document', '---\n'],
    ['a byte order mark and CRLF', '\ufefflog:\r\n  level: info\r\n'],
    ['empty sections', 'source:\n  columns:\nlog:\nredact:\nfail2ban:\n'],
  ])('%s gives the defaults', (_, text) => {
    expect(parseConfig(text, 'c.yml')).toEqual(parseConfig('', null));
  });

  it('accepts anchors, aliases and merge keys', () => {
    const text = [
      'sinks:',
      '  a: &a { type: file, directory: /var/log/a, mode: "0600" }',
      '  b: { <<: *a, directory: /var/log/b }',
    ].join('\n');
    expect(parseConfig(text, 'c.yml').sinks).toMatchObject({
      a: { directory: '/var/log/a', mode: 0o600 },
      b: { directory: '/var/log/b', mode: 0o600 },
    });
  });

  it('a configuration may have no sinks', () => {
    expect(parseConfig('sinks: {}', 'c.yml').sinks).toEqual({});
  });

  it('accepts known names in a filter, in any spelling, and names that resemble no known name', () => {
    const events = {
      category: ['auth', 'wireguard_peer'],
      action: ['auth.login_failure', 'login_failed', 'wireguard_peer.rotate'],
    };
    const text = JSON.stringify({ sinks: { a: { type: 'file', events } } });
    expect(parseConfig(text, 'c.yml').sinks.a?.events).toEqual(events);
  });
});

describe('the source of the configuration', () => {
  const file = join(directory, 'config.yml');
  writeFileSync(file, 'server: from-file\nstate: /from/file\n');

  it('loads the file that --config names', () => {
    const loaded = loadConfig(file, {});
    expect(loaded.path).toBe(file);
    expect(loaded.config.server).toBe('from-file');
  });

  it('loads the file that the environment names, unless --config overrides it', () => {
    expect(loadConfig(null, { POSTERN_AUDITD_CONFIG: file }).path).toBe(file);
    expect(loadConfig(file, { POSTERN_AUDITD_CONFIG: '/not/there' }).path).toBe(file);
  });

  it('paths of the environment override the file', () => {
    const env = {
      POSTERN_AUDITD_DATABASE: '/e/db',
      POSTERN_AUDITD_STATE: '/e/state',
      POSTERN_AUDITD_CONTROL: '/e/sock',
    };
    const { config } = loadConfig(file, env);
    expect([config.source.database, config.state, config.control]).toEqual(['/e/db', '/e/state', '/e/sock']);
    expect(loadConfig(file, { POSTERN_AUDITD_STATE: '' }).config.state).toBe('/from/file');
  });

  it('an invalid path in the environment is reported with its variable', () => {
    expect(problemsOf('state: /x', { POSTERN_AUDITD_STATE: 'here' })).toEqual([
      `POSTERN_AUDITD_STATE: state: found "here", allowed is ${PATH}`,
    ]);
    expect(() => parseConfig('', null, { POSTERN_AUDITD_STATE: 'here' })).toThrow(/Correct the environment$/);
  });

  it('a server without a name has the name of the host', () => {
    writeFileSync(join(directory, 'empty.yml'), '');
    expect(loadConfig(join(directory, 'empty.yml'), {}).config.server).toBe(hostname());
  });

  it.each([
    ['does not exist', join(directory, 'none.yml')],
    ['is a directory', directory],
  ])('a named file that %s is an error', (why, path) => {
    expect(() => loadConfig(path, {})).toThrow(
      expect.objectContaining({
        code: 'CONFIG_MISSING',
        message: expect.stringContaining(`${path} ${why}`) as string,
      }),
    );
  });

  it('a file that is not UTF-8 is an error', () => {
    const path = join(directory, 'latin1.yml');
    writeFileSync(path, Buffer.from('server: m\xfcller\n', 'latin1'));
    expect(() => loadConfig(path, {})).toThrow(`${path}:1:1: found text that is not UTF-8`);
  });
});

describe('arbitrary files', () => {
  const broken = (text: string): void => {
    try {
      parseConfig(text, 'c.yml');
    } catch (error) {
      expect(error).toBeInstanceOf(AuditdError);
    }
  };

  it('any text throws only an AuditdError', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), broken), { numRuns: 3_000 });
  });

  it('any pieces of YAML throw only an AuditdError', () => {
    const pieces = [
      'a',
      'sinks',
      'source',
      ': ',
      ':\n',
      '\n',
      '  ',
      '- ',
      '? ',
      '{',
      '}',
      '[',
      ']',
      ',',
      '&x ',
      '*x',
      '<<',
      '!!',
      '!t ',
      '|',
      '>',
      '"',
      "'",
      '#',
      '---',
      '%YAML',
      '\t',
      '__proto__',
      'null',
      '~',
      '0x1',
      '.inf',
    ];
    const text = fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((parts) => parts.join(''));
    fc.assert(fc.property(text, broken), { numRuns: 5_000 });
  });

  it('any values under known keys throw only an AuditdError', () => {
    const value = fc.jsonValue({ maxDepth: 3 });
    const mapping = (...keys: string[]) =>
      fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), value);
    const sink = fc.oneof(value, mapping('type', 'directory', 'roll', 'mode', 'events'));
    const file = fc.record(
      {
        source: fc.oneof(value, mapping('database', 'aliases', 'columns')),
        sinks: fc.oneof(value, fc.dictionary(fc.string(), sink)),
        fail2ban: fc.oneof(value, mapping('never_ban', 'ports', 'jail')),
        min_free: value,
        control: value,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(file, (object) => broken(JSON.stringify(object))),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['brackets', '['.repeat(79_000)],
    ['an oversized file', '['.repeat(200_000)],
    ['lists in lists', '- '.repeat(39_000)],
    [
      'aliases of aliases',
      `a: &a [1]\n${Array.from({ length: 30 }, (_, at) => `b${at}: &b${at} [*${at === 0 ? 'a' : `b${at - 1}`}, *${at === 0 ? 'a' : `b${at - 1}`}]`).join('\n')}`,
    ],
  ])('rejects excessive nesting: %s', (_, text) => {
    expect(() => parseConfig(text, 'c.yml')).toThrow(AuditdError);
  });
});

describe('a written configuration', () => {
  it.each([
    ['the defaults', ''],
    [
      'other values',
      'sinks: { a: { type: file, roll: { every: null, size: 1536B }, mode: "0600", events: { outcome: [failure] } } }\nfail2ban: { ban_time: 90m, never_ban: [] }\nmin_free: 0B\nsource: { poll_interval: 250ms }',
    ],
    [
      'ages',
      'retention: { keep: { default: forever, ban: 1y, user: forever }, archive: { keep: 10y }, max_size: 1G, max_hold: null }',
    ],
    [
      'a collector',
      'sinks: { s: { type: syslog, transport: tls, targets: ["a:6514"], tls: { ca: /ca.pem } } }',
    ],
  ])('a written configuration is equal when it is read again: %s', (_, text) => {
    const config = parseConfig(text, 'c.yml');
    expect(parseConfig(formatConfig(config), 'written.yml')).toEqual(config);
  });

  it('durations and sizes are written in readable units', () => {
    expect(formatConfig(parseConfig('fail2ban: { ban_time: 90m, find_time: 86400s }', 'c.yml'))).toMatch(
      /find_time: 1d\n {2}ban_time: 90m\n/,
    );
  });
});

describe('conflicting keys of a fleet', () => {
  const nats = 'servers: ["nats://n1:4222"]';
  it.each([
    [
      'a hub without servers',
      'fleet: { role: hub }',
      '1:16: fleet.role: found "hub", which needs fleet.servers too',
    ],
    [
      'subscribed bans without servers',
      'fleet:\n  bans: subscribe',
      '2:9: fleet.bans: found "subscribe", which needs fleet.servers too',
    ],
    [
      'subscribed bans without a fail2ban sink',
      `sinks: {}\nfleet: { bans: subscribe, ${nats} }`,
      '2:16: fleet.bans: found "subscribe" without a sink of type fail2ban, which bans need',
    ],
    [
      'a hub that publishes',
      `fleet: { role: hub }\nsinks:\n  s: { type: jetstream, ${nats} }`,
      "3:14: sinks.s.type: found jetstream on the hub, which would publish the fleet's events again; leave the sink out",
    ],
    [
      'a hub with a source database',
      `fleet: { role: hub, ${nats} }\nsource: { database: /x.db }`,
      "2:21: source.database: the hub's table is in its state directory; leave the key out",
    ],
    [
      'two ways to log in',
      `fleet: { ${nats}, nkey: /a, token: /b }`,
      '1:56: fleet.token: nkey is set too; only one way to log in is allowed',
    ],
    [
      'a user without a password',
      `fleet: { ${nats}, user: a }`,
      '1:45: fleet.user: user and password belong together',
    ],
    [
      'a token without servers',
      'fleet: { token: /b }',
      '1:17: fleet.token: found without fleet.servers, which it needs',
    ],
    [
      'an invalid network',
      'fleet: { never_ban: [10.0.0.0/99] }',
      '1:22: fleet.never_ban.0: found "10.0.0.0/99", allowed is an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32',
    ],
    [
      'a password in the address',
      'fleet: { servers: ["nats://u:s3cret@n1:4222"] }',
      '1:20: fleet.servers.0: write nats://host:port or tls://host:port, without a password',
    ],
  ])('rejects conflicting keys of a fleet: %s', (_, text, said) => {
    try {
      parseConfig(text, 'c.yml');
      expect.unreachable();
    } catch (error) {
      expect(String(error)).toContain(`c.yml:${said}`);
      expect(String(error)).not.toContain('s3cret');
    }
  });
});

describe('a problem of the configuration', () => {
  it.each(['\u{e0041}', '\uffa0', '\u180b', '\ufe0f', '\u202e', '\u0085', '\u001b'])(
    'a problem shows no unsafe character unescaped: %j',
    (character) => {
      for (const text of [
        `"a${character}b": 1`,
        `source: { table: ["a${character}b"] }`,
        `log: { level: "a${character}b" }`,
      ]) {
        try {
          parseConfig(text, 'c.yml');
          expect.unreachable();
        } catch (error) {
          expect(String(error)).toContain('c.yml:1:');
          expect(String(error)).not.toContain(character);
        }
      }
    },
  );
});
