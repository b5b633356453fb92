import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { formatEcs } from '../../src/formats/ecs.js';
import { failure } from '../sinks/files/files-fixture.js';
import { freePort } from '../sinks/syslog/receivers.js';
import { Unpacked } from '../support/unpacked.js';
import { Child } from './child.js';
import { recipe } from './recipe.js';

const packages = Unpacked.of('crowdsec');

interface Alert {
  readonly id: number;
  readonly decisions: readonly unknown[] | null;
  readonly scenario: string;
  readonly events_count: number;
  readonly source: { readonly value: string };
}

const byUnits = (a: string, b: string) => (a < b ? -1 : 1);

describe.skipIf(packages === null)('the recipe for CrowdSec', () => {
  let directory: string;
  let port: number;
  let daemon: Child;
  let sequence = 0;
  const at = (...names: string[]) => join(directory, ...names);
  const program = (name: string) => packages?.at(`usr/bin/${name}`) ?? '';

  beforeAll(async () => {
    if (packages === null) return;
    directory = mkdtempSync(join(tmpdir(), 'postern-siem-crowdsec-'));
    port = await freePort();
    for (const stage of ['s00-raw', 's01-parse', 's02-enrich'])
      mkdirSync(at('parsers', stage), { recursive: true });
    for (const name of ['scenarios', 'postoverflows', 'collections', 'data', 'log']) mkdirSync(at(name));
    for (const name of ['patterns', 'profiles.yaml', 'simulation.yaml']) {
      cpSync(packages.at(`etc/crowdsec/${name}`), at(name), { recursive: true });
    }
    const hub = packages.at('usr/share/crowdsec/hub');
    for (const name of [
      's00-raw/crowdsecurity/syslog-logs.yaml',
      's02-enrich/crowdsecurity/dateparse-enrich.yaml',
    ]) {
      const [stage = '', , file = ''] = name.split('/');
      cpSync(join(hub, 'parsers', name), at('parsers', stage, file));
    }
    writeFileSync(
      at('parsers/s01-parse/postern-auditd-logs.yaml'),
      recipe('crowdsec/postern-auditd-logs.yaml', {}),
    );
    writeFileSync(at('scenarios/postern-auditd-bf.yaml'), recipe('crowdsec/postern-auditd-bf.yaml', {}));
    writeFileSync(
      at('acquis.yaml'),
      recipe('crowdsec/acquis.yaml', { '/var/log/posternproxy/audit/': `${at('log')}/` }),
    );
    appendFileSync(at('profiles.yaml'), recipe('crowdsec/profiles.yaml', {}));
    writeFileSync(at('log/audit.00000001.log'), '');
    writeFileSync(at('credentials.yaml'), '');
    writeFileSync(at('config.yaml'), configuration(hub));
    execFileSync(program('cscli'), [
      ...config(),
      'machines',
      'add',
      'test',
      '--auto',
      '-f',
      at('credentials.yaml'),
      '--force',
    ]);
    daemon = new Child(program('crowdsec'), [...config(), '-no-capi']);
    await daemon.until(() => daemon.said.includes('Starting processing data'), 'start');
  });

  afterAll(async () => {
    await daemon?.end('SIGKILL');
    packages?.remove();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  const config = () => ['-c', at('config.yaml')];

  /** Nothing leaves the host: no central API, no hub. */
  function configuration(hub: string): string {
    return JSON.stringify({
      common: { daemonize: false, log_media: 'stdout', log_level: 'info', working_dir: directory },
      config_paths: {
        config_dir: directory,
        data_dir: at('data'),
        simulation_path: at('simulation.yaml'),
        hub_dir: hub,
        index_path: join(hub, '.index.json'),
        notification_dir: directory,
        plugin_dir: directory,
      },
      crowdsec_service: { acquisition_path: at('acquis.yaml'), parser_routines: 1 },
      cscli: { output: 'json', color: 'no' },
      db_config: { log_level: 'info', type: 'sqlite', db_path: at('data/crowdsec.db') },
      api: {
        client: { insecure_skip_verify: false, credentials_path: at('credentials.yaml') },
        server: {
          log_level: 'info',
          listen_uri: `127.0.0.1:${port}`,
          profiles_path: at('profiles.yaml'),
          console_path: at('console.yaml'),
        },
      },
      prometheus: { enabled: false },
    });
  }

  /** Failed logins for names of users, with so many seconds between them; the last one was a minute ago. */
  function spaced(address: string, seconds: number, names: readonly string[]): string[] {
    const last = Date.now() - 60_000;
    return names.map((name, at) => {
      const time = last - (names.length - 1 - at) * seconds * 1_000;
      return failures(1, address, { time, ingested: time, user: { id: null, name, email: null } });
    });
  }

  function failures(count: number, address: string, over: Parameters<typeof failure>[1] = {}): string {
    return Array.from({ length: count }, () => {
      sequence++;
      return `${formatEcs(failure(sequence, { time: Date.now(), ingested: Date.now(), address, ...over }))}\n`;
    }).join('');
  }

  function alerts(): Alert[] {
    const output = execFileSync(program('cscli'), [...config(), 'alerts', 'list', '-o', 'json'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return (JSON.parse(output) as Alert[] | null) ?? [];
  }

  /** Reads a log as if it had been followed, by the times of its lines. */
  function replay(lines: readonly string[]): void {
    // Lines count for 50 s. These are of the last hours.
    writeFileSync(
      at('parsers/s01-parse/postern-auditd-logs.yaml'),
      recipe('crowdsec/postern-auditd-logs.yaml', { '<= 50': '<= 86400' }),
    );
    writeFileSync(at('replayed.log'), lines.toSorted(byUnits).join(''));
    const log = ['-dsn', `file://${at('replayed.log')}`, '-type', 'postern-auditd'];
    execFileSync(program('crowdsec'), [...config(), '-no-api', ...log], { stdio: 'pipe' });
  }

  it('passes its own check', () => {
    execFileSync(program('crowdsec'), [...config(), '-t'], { stdio: 'pipe' });
  });

  it('bans an address or an IPv6 network with its fifth fresh failure, the log having rolled in between, and no other', async () => {
    const hostile = { user: { id: null, name: '","source":{"ip":"192.0.2.1"},"x":"', email: null } };
    const success = failure(1).type;
    appendFileSync(
      at('log/audit.00000001.log'),
      failures(3, '203.0.113.7', hostile) +
        failures(4, '198.51.100.4') +
        ['1', '2', '3', '4'].map((host) => failures(1, `2001:db8:1:2::${host}`)).join('') +
        failures(4, '2001:db8:1:3::1'),
    );
    writeFileSync(
      at('log/audit.00000002.log'),
      // What is long past, also at this very time of the day before; what has no time; what is no failure.
      failures(9, '198.51.100.6', { time: Date.now() - 300_000 }) +
        failures(9, '198.51.100.7', { time: Date.now() - 86_400_000 }) +
        failures(9, '198.51.100.8', { time: null, rawTime: 'yesterday' }) +
        failures(9, '198.51.100.5', {
          type: { ...success, action: 'auth.login_success', outcome: 'success' },
          action: 'auth.login_success',
        }) +
        failures(2, '203.0.113.7', hostile) +
        failures(1, '2001:db8:1:2:ffff::1'),
    );
    await daemon.until(
      () => daemon.said.includes('ban on Ip') && daemon.said.includes('ban on Range'),
      'bans',
    );
    const found = alerts().map(({ scenario, source, events_count }) => [
      scenario,
      source.value,
      events_count,
    ]);
    expect(found.toSorted(([a], [b]) => String(a).localeCompare(String(b)))).toEqual([
      ['postern/postern-auditd-bf', '203.0.113.7', 5],
      ['postern/postern-auditd-bf-ipv6', '2001:db8:1:2::/64', 5],
    ]);
    // Who guessed which name is for the alert, and can't be had from what fail2ban reads.
    expect(JSON.stringify(alerts())).toContain('192.0.2.1');
  });

  it('bans who tries five names in a quarter of an hour, too slowly for the other scenario, and not who tries one name so', () => {
    const names = ['jan', 'piet', 'joris', 'corneel', 'admin'];
    const same = names.map(() => 'jan');
    const inOneNetwork = names.flatMap((name, at) => spaced(`2001:db8:1:4::${at}`, 0, [name]));
    const before = new Set(alerts().map(({ id }) => id));
    replay([
      ...spaced('203.0.113.20', 200, names),
      ...spaced('203.0.113.21', 30, same),
      ...spaced('203.0.113.22', 10, names),
      ...spaced('203.0.113.23', 200, [...same, ...same]),
      ...spaced('203.0.113.24', 200, ['jan', 'piet', 'joris', 'corneel', 'jan', 'piet']),
      ...spaced('203.0.113.25', 1_000, names),
      ...spaced('203.0.113.26', 200, ['', '', ...names.slice(1)]),
      ...spaced('203.0.113.27', 60, same),
      ...spaced('203.0.113.28', 60, [...same, 'jan', 'jan']),
      ...inOneNetwork,
      ...spaced('2001:db8:1:5::1', 200, names),
      ...spaced('2001:db8:1:6::1', 200, [...same, ...same]),
    ]);
    const found = alerts().filter(({ id }) => !before.has(id));
    const overflows = found.map(({ scenario, source }) => `${source.value} ${scenario}`);
    expect(overflows.toSorted(byUnits)).toEqual([
      '2001:db8:1:4::/64 postern/postern-auditd-bf-ipv6',
      '2001:db8:1:4::/64 postern/postern-auditd-bf_user-enum-ipv6',
      '2001:db8:1:5::/64 postern/postern-auditd-bf_user-enum-ipv6',
      '203.0.113.20 postern/postern-auditd-bf_user-enum',
      '203.0.113.21 postern/postern-auditd-bf',
      '203.0.113.22 postern/postern-auditd-bf',
      '203.0.113.22 postern/postern-auditd-bf_user-enum',
      '203.0.113.28 postern/postern-auditd-bf',
    ]);
    for (const { decisions } of found) expect(decisions).toHaveLength(1);
  });

  it('labels each scenario as CrowdSec asks for', () => {
    const scenarios = parseAllDocuments(recipe('crowdsec/postern-auditd-bf.yaml', {}));
    const labels = scenarios.map((document) => (document.toJS() as { labels: unknown }).labels);
    expect(labels).toHaveLength(4);
    for (const one of labels)
      expect(one).toMatchObject({
        service: 'postern',
        remediation: true,
        behavior: 'http:bruteforce',
        classification: expect.stringMatching(/^attack\.T\d{4}$/),
        confidence: expect.toSatisfy((value) => [0, 1, 2, 3].includes(value as number)),
        spoofable: 0,
        label: expect.any(String),
      });
  });
});
