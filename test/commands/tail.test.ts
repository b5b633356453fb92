import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { follow, run } from './cli.js';

let rig: DaemonRig;
const tail = (...args: string[]): string[] =>
  run(['tail', '--config', rig.configPath, '--no-follow', ...args])
    .out.split('\n')
    .slice(0, -1);

beforeAll(async () => {
  rig = new DaemonRig({ roll: '{ size: 4K, keep: 1000 }' });
  rig.record({ action: 'auth.login_failure', address: '203.0.113.7', user: { name: 'eve\u001b[2J' } });
  rig.record({ action: 'proxy_host.update', address: '10.0.0.5', user: { name: 'anna' }, resourceId: 12 });
  rig.record({ action: 'auth.login_success', address: '2001:db8::5', user: { name: 'anna' } });
  await rig.start();
  await rig.shipped();
});
afterAll(() => rig.close());

describe('tail', () => {
  it('tail prints the last events, oldest first', () => {
    const lines = tail('--action', 'auth', '--action', 'proxy_host');
    expect(lines.map((line) => line.replace(/^\S+Z {2}/, ''))).toEqual([
      'failure  auth.login_failure        203.0.113.7      eve\\x1b[2J',
      'success  proxy_host.update         10.0.0.5         anna  proxy_host 12',
      'success  auth.login_success        2001:db8::5      anna',
    ]);
    expect(tail('-n', '1', '--action', 'auth')).toHaveLength(1);
    expect(tail('-n', '0')).toEqual([]);
  });

  it.each<[string[], number]>([
    [['--action', 'auth.login_failure'], 1],
    [['--action', 'login_failed'], 1],
    [['--action', 'auth,proxy_host.update'], 3],
    [['--outcome', 'failure'], 1],
    [['--ip', '203.0.113.0/24'], 1],
    [['--ip', '203.0.113.7', '2001:db8::/32'], 2],
    [['--ip', '198.51.100.0/24'], 0],
    [['--action', 'auth', '--outcome', 'success'], 1],
  ])('tail filters: %j', (args, count) => {
    expect(tail(...args)).toHaveLength(count);
  });

  it('tail prints the lines unchanged with --json', () => {
    const [line = ''] = tail('--json', '--outcome', 'failure');
    expect(JSON.parse(line)).toMatchObject({
      event: { action: 'auth.login_failure' },
      source: { ip: '203.0.113.7' },
    });
  });

  it('tail follows a daemon that rotates its files: every event, once, in order', async () => {
    const following = follow([
      'tail',
      '--config',
      rig.configPath,
      '-n',
      '0',
      '--json',
      '--action',
      'setting.update',
    ]);
    const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));
    const seen = () =>
      following
        .lines()
        .map((line) => (JSON.parse(line) as { postern: { details: { n: number } } }).postern.details.n);
    try {
      // It begins at the end: where that is, the first that it shows will tell.
      let n = 0;
      const record = () =>
        rig.record({ action: 'setting.update', details: { n: n++, text: 'x'.repeat(100) } });
      const deadline = Date.now() + 60_000;
      while (seen().length === 0 && Date.now() < deadline) {
        record();
        await pause(20);
      }
      for (let more = 0; more < 300; more++) {
        record();
        if (more % 3 === 0) await pause(2);
      }
      while (seen().at(-1) !== n - 1 && Date.now() < deadline) await pause(20);
      const [first = n] = seen();
      expect(seen()).toEqual(Array.from({ length: n - first }, (_, at) => first + at));
      expect(seen().length).toBeGreaterThanOrEqual(300);
      const names = new Set(readdirSync(join(rig.place, 'audit')));
      expect(names.size).toBeGreaterThan(5);
    } finally {
      await following.stop();
    }
  });
});
