import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AptRepository, apt, withoutAnswers } from './apt.js';
import { bootHost, describeHost, type Host, type Suite } from './host.js';

const GUIDE = resolve(import.meta.dirname, '../../docs/guide/INSTALL.md');

let repository: AptRepository;
beforeAll(() => {
  repository = new AptRepository();
});
afterAll(() => repository.remove());

for (const suite of ['bookworm', 'trixie'] as readonly Suite[]) {
  describeHost(`unattended-upgrades and needrestart on ${suite}`, () => {
    let host: Host;
    let version: string;
    beforeAll(async () => {
      const packages = ['unattended-upgrades', 'needrestart', 'python3'];
      host = await bootHost({ suite, name: `deb-unattended-${suite}`, node: false, bare: true, packages });
      await repository.serve(host);
      await apt(host, 'install --no-install-recommends postern-auditd');
      version = repository.publish(suite === 'bookworm' ? 2 : 3);
      await host.exec('apt-get update --error-on=any');
    });
    afterAll(() => host.stop());

    it('leaves the package alone without the lines of the guide', async () => {
      const { said } = await withoutAnswers(host, 'unattended-upgrade --dry-run --debug');
      expect(said).not.toMatch(/pkgs that look like they should be upgraded:.*postern-auditd/);
    });

    it('takes the package with the lines of the guide, and restarts the daemon', async () => {
      const lines =
        /```\n(Unattended-Upgrade::Origins-Pattern[^`]*)```/.exec(readFileSync(GUIDE, 'utf8'))?.[1] ?? '';
      await host.write('/etc/apt/apt.conf.d/52postern-auditd', lines);
      const dry = await withoutAnswers(host, 'unattended-upgrade --dry-run --debug');
      expect(dry.said).toMatch(/pkgs that look like they should be upgraded:.*postern-auditd/);
      const pid = (await host.exec('systemctl show -P MainPID postern-auditd')).stdout;
      await withoutAnswers(host, 'unattended-upgrade --debug');
      expect((await host.exec('dpkg -s postern-auditd')).stdout).toContain(`Version: ${version}\n`);
      expect((await host.exec('systemctl is-active postern-auditd')).stdout).toBe('active\n');
      expect((await host.exec('systemctl show -P MainPID postern-auditd')).stdout).not.toBe(pid);
    });

    it('leaves needrestart nothing of ours to restart', async () => {
      const { said } = await withoutAnswers(host, 'needrestart -b -r l');
      expect(said).toContain('NEEDRESTART-VER');
      expect(said).not.toContain('postern');
    });
  });
}
