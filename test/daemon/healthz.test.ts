import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { run } from '../commands/cli.js';
import { DaemonRig } from './daemon-fixture.js';

it('status --healthz is 0 while the daemon works, even if a collector is down, and 3 if it does not run', async () => {
  const rig = new DaemonRig();
  onTestFinished(() => rig.close());
  const healthz = () => run(['status', '--healthz', '--config', rig.configPath]);
  expect(healthz()).toMatchObject({ code: 3, out: '' });
  const text = readFileSync(rig.configPath, 'utf8');
  const siem = 'siem: { type: syslog, transport: tcp, targets: ["127.0.0.1:1"], start: beginning }';
  writeFileSync(rig.configPath, text.replace('sinks:\n', `sinks:\n  ${siem}\n`));
  await rig.start();
  rig.append(3);
  await rig.until(({ sinks }) => sinks.siem?.state === 'backing off', 'the collector is down');
  expect(healthz()).toEqual({ code: 0, out: 'ok\n', err: '' });
  expect(run(['status', '--config', rig.configPath]).code).toBe(1);
});
