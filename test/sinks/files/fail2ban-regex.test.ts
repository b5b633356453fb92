import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import { dependencies, fail2banConfig, failure, NEVER, temporaryDirectory } from './files-fixture.js';

const FILTER = fileURLToPath(new URL('../../../fail2ban/filter.d/posternproxy.conf', import.meta.url));

function available(): boolean {
  try {
    execFileSync('fail2ban-regex', ['--version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
}

const there = available();
if (!there) {
  if (process.env.CI) throw new Error('fail2ban-regex is not installed: apt-get install fail2ban');
  console.warn('SKIPPED: what the real filter matches in the pair: fail2ban is not installed');
}

describe.skipIf(!there)("the real filter, in the pair's own bytes", () => {
  let directory: string;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => fs.rmSync(directory, { recursive: true }));

  const matched = (file: string): string[] =>
    execFileSync('fail2ban-regex', ['-o', 'ip', file, FILTER], {
      encoding: 'utf8',
      env: { ...process.env, TZ: 'UTC' },
    })
      .split('\n')
      .filter((line) => line !== '');

  it('fail2ban-regex matches each failure once, and no header', async () => {
    const { deps, time } = dependencies();
    const sink = createFail2banSink(
      { ...fail2banConfig(directory), roll: { size: 100 } },
      { never_ban: [], ipv6_prefix: 64 },
      deps,
    );
    await sink.open(null);
    const addresses = ['203.0.113.7', '2001:db8:1:2:3::4', '198.51.100.255'];
    for (const [index, address] of addresses.entries()) {
      time.now += 61_000;
      const event = failure(index + 1, { address, time: time.now });
      await sink.deliver({ source: 'postern', timeline: 1, events: [event], upTo: event.sequence }, NEVER);
    }
    await sink.close();
    const pair = ['fail2ban.0.log', 'fail2ban.1.log'].map((name) => path.join(directory, name));
    // Three failures, two rolls: the first file was replaced.
    expect(pair.flatMap(matched).sort()).toEqual(['198.51.100.255', '2001:db8:1:2::/64']);
    for (const file of pair)
      expect(fs.readFileSync(file, 'utf8').split('\n', 1)[0]).toContain('"daemon.log_opened"');
  });
});
