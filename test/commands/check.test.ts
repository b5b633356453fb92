import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Section } from '../../src/commands/check/report.js';
import {
  failure,
  partsOfError,
  renderSection,
  renderSummary,
  summarise,
} from '../../src/commands/check/report.js';
import { createPaint } from '../../src/commands/support/terminal.js';
import { AuditdError } from '../../src/errors.js';
import { STATE_VERSION } from '../../src/shipping/state.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { run } from './cli.js';
import { hasFail2ban, PrivateFail2ban } from './private-fail2ban.js';

const plain = createPaint(false);

describe('the report of check', () => {
  it('the report has a line for each finding and one for its next step', () => {
    const section: Section = {
      name: 'Database',
      findings: [
        { level: 'ok', what: 'fine' },
        { level: 'warning', what: 'two\nlines', next: 'do this' },
        { level: 'error', what: 'bad \u001b[2J', next: 'do that' },
      ],
    };
    expect(renderSection(section, plain)).toBe(`Database
  ok       fine
  warning  two
           lines
           next: do this
  error    bad \\x1b[2J
           next: do that

`);
    expect(summarise([section])).toEqual({ ok: false, errors: 1, warnings: 1 });
  });

  it.each([
    [{ ok: true, errors: 0, warnings: 0 }, 'All is well.\n'],
    [{ ok: true, errors: 0, warnings: 2 }, '2 warnings\n'],
    [{ ok: false, errors: 1, warnings: 1 }, '1 error, 1 warning\n'],
  ])('the report ends with the totals: %j', (summary, text) => {
    expect(renderSummary(summary, plain)).toBe(text);
  });

  it.each([
    ['/srv/p. db/x.db is locked', 'Look for it', { what: '/srv/p. db/x.db is locked', next: 'look for it' }],
    ['It is missing', 'Postern makes it', { what: 'It is missing', next: 'Postern makes it' }],
  ])('the report shows the next step of an error, whatever its text: %j, %j', (what, next, parts) => {
    const error = new AuditdError('SOURCE_UNUSABLE', what, { next });
    expect(partsOfError(error)).toEqual(parts);
    expect(failure(error)).toEqual({ level: 'error', ...parts });
  });

  it('the report never splits the text of an error', () => {
    expect(partsOfError(new AuditdError('STATE_UNUSABLE', 'A. B'))).toEqual({ what: 'A. B' });
    expect(failure(new Error('A. B'))).toEqual({ level: 'error', what: 'A. B' });
    expect(failure(new AuditdError('CONFIG_INVALID', 'two:\n  a\n  b', { next: 'Do it' }))).toEqual({
      level: 'error',
      what: 'two:\n  a\n  b',
      next: 'do it',
    });
  });
});

describe('check', () => {
  let rig: DaemonRig;
  beforeEach(() => {
    rig = new DaemonRig();
  });
  afterEach(() => rig.close());

  interface Report {
    readonly ok: boolean;
    readonly errors: number;
    readonly sections: readonly Section[];
  }

  /** Findings of a section, `level: what`; without fail2ban's, which depends on the host. */
  function check(env: NodeJS.ProcessEnv = {}): {
    code: number | null;
    of(name: string): string[];
    next(name: string): string[];
  } {
    const { code, out } = run(['check', '--config', rig.configPath, '--json'], env);
    const report = JSON.parse(out) as Report;
    expect(code).toBe(report.errors > 0 ? 1 : 0);
    const findings = (name: string) =>
      report.sections.find((section) => section.name === name)?.findings ?? [];
    return {
      code,
      of: (name) => findings(name).map(({ level, what }) => `${level}: ${what}`),
      next: (name) => findings(name).flatMap(({ next }) => next ?? []),
    };
  }

  it('check finds no fault in a running daemon', async () => {
    rig.append(30);
    await rig.start();
    await rig.shipped();
    const { of } = check();
    expect(of('Configuration')).toEqual([
      `ok: ${rig.configPath}`,
      expect.stringMatching(
        /^ok: .* sentences to the journal \(log\.format: journal is the default; in earlier releases/,
      ),
      'ok: alerts is left out: alerts are raised (the default; in earlier releases none)',
    ]);
    expect(of('Database')).toEqual([
      `ok: ${rig.database}, table audit_log: rows up to 30`,
      'ok: 0 logins and 10 failed logins in the newest rows; none from an address whose ban would lock out others',
    ]);
    expect(of('State')).toEqual([
      `ok: ${rig.place}/state is writable`,
      `ok: ${rig.place}/state/state.db, version ${STATE_VERSION}`,
    ]);
    expect(of('Sink audit (file)')[0]).toBe(`ok: ${rig.place}/audit is writable`);
    expect(of('Daemon')).toEqual([
      expect.stringMatching(/^ok: it is running: version \d+\.\d+\.\d+, pid \d+$/),
    ]);
  });

  it('check reads the configuration of an earlier build, and names the defaults that have changed since', () => {
    const earlier = readFileSync(join(import.meta.dirname, '../data/config-of-2026-11-25.yml'), 'utf8');
    writeFileSync(
      rig.configPath,
      earlier.replace(
        'sinks:\n',
        'sinks:\n  siem: { type: syslog, transport: relp, targets: ["127.0.0.1:1"], format: leef }\n',
      ),
    );
    const oks = check()
      .of('Configuration')
      .filter((line) => line.startsWith('ok: '));
    expect(oks.slice(1)).toEqual([
      expect.stringContaining('log.format: journal is the default; in earlier releases it was json'),
      'ok: alerts is left out: alerts are raised (the default; in earlier releases none)',
      'ok: sinks.siem.window is left out: up to 1000 in a backlog (the default; in earlier releases 128)',
      'ok: sinks.siem.envelope is left out: rfc3164 for leef (the default; in earlier releases rfc5424)',
    ]);
    expect(check().of('fail2ban').join('\n')).toContain(
      'warning: fail2ban.ipv6_prefix is 128, the default of earlier releases: an IPv6 attacker is banned by a single address',
    );
  });

  it.skipIf(!hasFail2ban())('check tries the filter on lines that it must match', () => {
    expect(check().of('fail2ban')[0]).toMatch(/^ok: .* matches failed logins from IPv4 and IPv6 addresses$/);
  });

  it.skipIf(!hasFail2ban())('check warns about a banned network from which somebody has logged in', () => {
    const fail2ban = new PrivateFail2ban();
    try {
      for (const address of ['2001:db8:1:2::7', '2001:db8:1:3::7'])
        rig.record({ action: 'auth.login_success', address });
      fail2ban.client('set', 'posternproxy', 'banip', '2001:db8:1:2::/64', '2001:db8:9::/64');
      expect(
        check({ PATH: fail2ban.path })
          .of('fail2ban')
          .filter((what) => what.includes('logins came')),
      ).toEqual([
        'warning: 2001:db8:1:2::/64 is banned, and successful logins came from it: 2001:db8:1:2::7',
      ]);
    } finally {
      fail2ban.close();
    }
  });

  it.each([
    ['', /^ok: an IPv6 attacker is banned by \/64 \(.* the default is 64, in earlier releases 128\)$/],
    ['ipv6_prefix: 128', /^warning: fail2ban\.ipv6_prefix is 128, the default of earlier/],
    ['banaction: iptables-ipset-proto6', /^warning: banaction iptables-ipset-proto6 can't ban networks: /],
  ])('check reports the prefix that bans an IPv6 attacker: %j', (key, expected) => {
    writeFileSync(
      rig.configPath,
      readFileSync(rig.configPath, 'utf8').replace(
        'fail2ban: { ',
        `fail2ban: { ${key === '' ? '' : `${key}, `}`,
      ),
    );
    expect(check().of('fail2ban')).toContainEqual(expect.stringMatching(expected));
  });

  it('check changes nothing and leaves no file before the first start', () => {
    const { of } = check();
    expect(of('State')).toEqual([`ok: ${rig.place}/state will be created in ${rig.place}`]);
    expect(of('Sink audit (file)')[0]).toBe(`ok: ${rig.place}/audit will be created in ${rig.place}`);
    expect(() => chmodSync(join(rig.place, 'state'), 0o750)).toThrow('ENOENT');
  });

  it('check reports a stopped daemon, and how to start it', () => {
    const { of, next } = check();
    expect(of('Daemon')).toEqual([`warning: it is not running: nothing listens on ${rig.control}`]);
    expect(next('Daemon')).toEqual(['systemctl start postern-auditd']);
  });

  it('check reports a missing database as a warning, since Postern may create it later', () => {
    const { of, next } = check({ POSTERN_AUDITD_DATABASE: '/not/there.db' });
    expect(of('Database')).toEqual([
      'warning: /not/there.db is not there yet; waiting for Postern to create it',
    ]);
    expect(next('Database')).toEqual(['set source.database if it is elsewhere']);
    expect(of('Configuration')[0]).toMatch(/, with POSTERN_AUDITD_DATABASE from the environment$/);
  });

  it('check reports a file that is not a database', () => {
    const path = join(rig.directory, 'text.db');
    writeFileSync(path, 'x'.repeat(4_096));
    const { code, of } = check({ POSTERN_AUDITD_DATABASE: path });
    expect(of('Database')).toEqual([`error: ${path} is not a SQLite database, or is encrypted`]);
    expect(code).toBe(1);
  });

  it('check reports a missing column', () => {
    rig.db.exec('ALTER TABLE audit_log RENAME COLUMN created_at TO at');
    expect(check().of('Database')[0]).toMatch(/^error: .*has no column created_at; its columns are id, at, /);
  });

  it('check warns about an address whose ban would lock out everyone', () => {
    for (let n = 0; n < 20; n++) rig.record({ action: 'auth.login_success', address: '198.51.100.1' });
    const { code, of, next } = check();
    expect(of('Database')[1]).toMatch(
      /^warning: 20 of 20 successful logins came from 198\.51\.100\.1: more than half, which suggests a proxy in front of Postern/,
    );
    expect(next('Database')[0]).toContain('fail2ban.never_ban');
    expect(code).toBe(run(['check', '--config', rig.configPath]).code);
  });

  it('check warns about filter names that are not in the catalog', () => {
    rig.configure('redact: {}');
    const text = `sinks: { more: { type: file, directory: ${rig.place}/more, events: { action: [wireguard.rotate] } } }`;
    writeFileSync(
      rig.configPath,
      `${text}\nsource: { database: ${rig.database} }\nstate: ${rig.place}/state\ncontrol: ${rig.control}\n`,
    );
    expect(check().of('Configuration')[1]).toBe(
      'warning: sinks.more.events.action: "wireguard.rotate" is not in the catalog of events',
    );
    expect(check().of('fail2ban')).toEqual([
      expect.stringMatching(/^warning: .*no sink of type fail2ban: nobody is banned$/),
    ]);
  });

  it('check reports an invalid configuration, and checks nothing else', () => {
    writeFileSync(rig.configPath, 'log: { levle: info }');
    const { code, out } = run(['check', '--config', rig.configPath]);
    expect(out).toBe(`Configuration
  error    The configuration has a problem:
             ${rig.configPath}:1:8: log.levle: found an unknown key. Did you mean level? Allowed here: level, format, file
           next: correct it, then: postern-auditd config --check ${rig.configPath}

1 error
`);
    expect(code).toBe(1);
  });

  it('check reports a configuration that everybody may write to as an error', () => {
    chmodSync(rig.configPath, 0o666);
    expect(check().of('Configuration')[1]).toMatch(/^error: everybody may write to /);
  });

  it('check reports a file in place of a directory as an error, and foreign files in it as a warning', () => {
    mkdirSync(join(rig.place, 'audit'));
    writeFileSync(join(rig.place, 'audit', 'mine.txt'), '');
    expect(check().of('Sink audit (file)').at(-1)).toBe(
      `warning: other files in ${rig.place}/audit: mine.txt`,
    );
    rmSync(join(rig.place, 'audit'), { recursive: true });
    writeFileSync(join(rig.place, 'audit'), '');
    expect(check().of('Sink audit (file)')[0]).toBe(`error: ${rig.place}/audit is not a directory`);
  });

  it('check reports the faults of a running daemon', async () => {
    await rig.start();
    rig.db.exec('ALTER TABLE audit_log RENAME TO other');
    await rig.until(({ sources }) => sources.postern?.state === 'no_table', 'no table');
    expect(check().of('Daemon')[1]).toMatch(/^error: source postern: .*has no table audit_log/);
  });

  it('check prints colour only when it is wanted', () => {
    expect(run(['check', '--config', rig.configPath]).out).not.toContain('\u001b');
  });
});
