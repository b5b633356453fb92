import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { install, recordFailures, release, startPostern, unpack } from './release.js';

const FAULT = '/usr/local/lib/dies-at-marker.mjs';
const AUDIT = 'cat /var/log/posternproxy/audit/audit.*.log';

describeHost('a row that crashes the daemon, on a host with systemd', () => {
  let host: Host;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'bookworm',
      name: 'quarantine',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await host.exec('touch /var/log/auth.log');
    await unpack(host);
    await startPostern(host);
    await install(host);
    await host.put(resolve(import.meta.dirname, '../daemon/fixtures/dies-at-marker.mjs'), FAULT);
    await host.write(
      '/etc/systemd/system/postern-auditd.service.d/fault.conf',
      `[Service]\nEnvironment=NODE_OPTIONS=--import=${FAULT}\nRestartSec=1s\n`,
    );
    await host.exec('systemctl daemon-reload && systemctl restart postern-auditd');
  });
  afterAll(() => host.stop());

  it('a row that crashes the daemon is skipped by the third start, and its failure and later ones lead to bans', async () => {
    await recordFailures(host, '10.77.5.1', 1);
    await host.waitFor(AUDIT, (out) => out.includes('10.77.5.1'));
    const before = Number((await host.exec('systemctl show -P NRestarts postern-auditd')).stdout);
    await recordFailures(host, '10.77.5.2', 1, JSON.stringify({ note: 'ends-the-process' }));
    await recordFailures(host, '10.77.5.3');
    await host.waitFor(
      AUDIT,
      (out) => out.includes('daemon.row_quarantined') && out.includes('10.77.5.3'),
      120,
    );
    // systemd counts restarts, without the first start.
    expect(Number((await host.exec('systemctl show -P NRestarts postern-auditd')).stdout) - before).toBe(2);
    const lines = (await host.exec(AUDIT)).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { source?: { ip?: string }; postern?: { details?: unknown } });
    const [row, ...more] = lines.filter(({ source }) => source?.ip === '10.77.5.2');
    expect(more).toEqual([]);
    expect(row?.postern?.details).toEqual({ left_out: 'the row ended the process again and again' });
    await host.waitFor('fail2ban-client status posternproxy', (out) => out.includes('10.77.5.3'), 60);
    expect((await host.exec('cat /var/log/posternproxy/auth/fail2ban.*.log')).stdout).toContain('10.77.5.2');
  });
});
