import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatEcs } from '../../src/formats/ecs.js';
import { failure } from '../sinks/files/files-fixture.js';
import { freePort } from '../sinks/syslog/receivers.js';
import { withoutRsyslog } from '../sinks/syslog/rsyslog.js';
import { events, Shipping, syslog } from '../sinks/syslog/syslog-fixture.js';
import { Child } from './child.js';
import { recipe } from './recipe.js';

describe.skipIf(withoutRsyslog())('the recipe for rsyslog', () => {
  let directory: string;
  let rsyslogd: Child;
  let target: string;
  let start: () => Promise<void>;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'postern-siem-rsyslog-'));
    mkdirSync(join(directory, 'log'));
    const port = await freePort();
    target = `127.0.0.1:${port}`;
    const file = join(directory, 'rsyslog.conf');
    const text = recipe('rsyslog.conf', {
      'port="2514"': `address="127.0.0.1" port="${port}"`,
      '/var/log/postern/': `${directory}/log/`,
    });
    writeFileSync(file, `global(workDirectory="${directory}")\n${text}`);
    start = async () => {
      rsyslogd = new Child('/usr/sbin/rsyslogd', ['-n', '-f', file, '-i', join(directory, 'pid')]);
      await rsyslogd.listening(port);
    };
    await start();
  });

  afterAll(async () => {
    await rsyslogd?.end();
    rmSync(directory, { recursive: true, force: true });
  });

  function lines(name: string): string[] {
    const path = join(directory, 'log', name);
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  }

  function sequences(from: number): Set<number> {
    const each = lines('events.json').slice(from);
    return new Set(each.map((line) => Number(/"sequence": ?(\d+)/.exec(line)?.[1])));
  }

  async function ship(list: ReturnType<typeof events>): Promise<void> {
    const sink = syslog({ transport: 'relp', targets: [target] });
    const shipping = new Shipping(sink, list);
    await shipping.until(list.length);
    await sink.close();
    expect(shipping.errors).toEqual([]);
  }

  it('is taken without a complaint', () => {
    expect(rsyslogd.said).toBe('');
  });

  it('writes every event with each of its members, and the failed logins by field', async () => {
    const login = failure(1, {
      user: { id: '7', name: 'a "b" ł', email: null },
      details: '{"Realm":"Büro","n":12}',
    });
    const created = failure(2, {
      type: { ...login.type, action: 'proxy_host.create', category: 'proxy_host', outcome: 'success' },
      action: 'proxy_host.create',
    });
    await ship([login, created]);
    expect(lines('events.json').map((line) => JSON.parse(line) as unknown)).toEqual(
      [login, created].map((event) => JSON.parse(formatEcs(event)) as unknown),
    );
    expect(lines('login-failures.log')).toEqual([
      `2026-11-26T12:00:00.000Z 203.0.113.7 a \\"b\\" ł here ${login.id}`,
    ]);
    expect(lines('other.log')).toEqual([]);
  });

  it('has written what it has answered when it is killed under load, and loses nothing over all', async () => {
    const list = events(1, 60_000);
    const before = lines('events.json').length;
    const sink = syslog({ transport: 'relp', targets: [target] });
    const shipping = new Shipping(sink, list);
    const shipped = shipping.until(list.length);
    await rsyslogd.until(() => shipping.cursor > 15_000, 'take events');
    const answered = shipping.cursor;
    await rsyslogd.end('SIGKILL');
    const kept = sequences(before);
    await start();
    await shipped;
    await sink.close();
    expect(list.slice(0, answered).filter(({ sequence }) => !kept.has(sequence)).length).toBe(0);
    expect(sequences(before).size).toBe(list.length);
  });

  it('keeps what is no event of ours apart', async () => {
    const sink = syslog({ transport: 'relp', targets: [target], app_name: 'another' });
    const shipping = new Shipping(sink, [failure(1)]);
    await shipping.until(1);
    await sink.close();
    expect(lines('other.log')).toHaveLength(1);
    expect(lines('other.log')[0]).toContain('auth.login_failure');
  });
});
