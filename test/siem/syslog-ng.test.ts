import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatEcs } from '../../src/formats/ecs.js';
import { failure } from '../sinks/files/files-fixture.js';
import { freePort } from '../sinks/syslog/receivers.js';
import { events, Shipping, syslog } from '../sinks/syslog/syslog-fixture.js';
import { Unpacked } from '../support/unpacked.js';
import { Child } from './child.js';
import { recipe } from './recipe.js';

const packages = Unpacked.withLibraries('syslog-ng-core');

describe.skipIf(packages === null)('the recipe for syslog-ng', () => {
  let directory: string;
  let daemon: Child;
  let target: string;

  beforeAll(async () => {
    if (packages === null) return;
    directory = mkdtempSync(join(tmpdir(), 'postern-siem-syslog-ng-'));
    const port = await freePort();
    target = `127.0.0.1:${port}`;
    const version =
      readdirSync(packages.at('usr/lib/syslog-ng')).find((name) => /^\d+\.\d+$/.test(name)) ?? '';
    const file = join(directory, 'syslog-ng.conf');
    const text = recipe('syslog-ng.conf', {
      'ip("0.0.0.0") port(601)': `ip("127.0.0.1") port(${port})`,
      '/var/log/postern/': `${directory}/log/`,
    });
    writeFileSync(file, `@version: ${version}\n${text}`);
    const at = (name: string) => join(directory, name);
    const args = [
      '-F',
      '-e',
      '--no-caps',
      '-f',
      file,
      '-R',
      at('persist'),
      '-c',
      at('control'),
      '-p',
      at('pid'),
    ];
    daemon = new Child(
      packages.at('usr/sbin/syslog-ng'),
      [...args, `--module-path=${packages.at(`usr/lib/syslog-ng/${version}`)}`],
      { env: { LD_LIBRARY_PATH: packages.libraries('usr/lib/syslog-ng') } },
    );
    await daemon.listening(port);
  });

  afterAll(async () => {
    await daemon?.end();
    packages?.remove();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  });

  function lines(name: string): string[] {
    const path = join(directory, 'log', name);
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  }

  it('writes every event as it was sent, and the failed logins by field', async () => {
    const login = failure(1, {
      user: { id: '7', name: 'a "b" ł', email: null },
      details: '{"Realm":"Büro","n":12}',
    });
    const created = failure(2, {
      type: { ...login.type, action: 'proxy_host.create', category: 'proxy_host', outcome: 'success' },
      action: 'proxy_host.create',
    });
    const list = [login, created, ...events(3, 5_000)];
    const sink = syslog({ transport: 'tcp', targets: [target] });
    const shipping = new Shipping(sink, list);
    await shipping.until(list.length);
    await sink.close();
    expect(shipping.errors).toEqual([]);
    await daemon.until(
      () => lines('login-failures.log').length >= 4_999 && lines('events.json').length >= list.length,
      'write all of it',
    );
    expect(lines('events.json')).toEqual(list.map((event) => formatEcs(event)));
    expect(lines('login-failures.log')[0]).toBe(
      `2026-11-26T12:00:00.000Z 203.0.113.7 a "b" ł here ${login.id}`,
    );
    expect(lines('login-failures.log')).toHaveLength(4_999);
  });
});
