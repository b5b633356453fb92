import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { install, recordFailures, startPostern } from './release.js';

const clone = resolve(import.meta.dirname, '../..');
const output = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: 'utf8' }).trim();

describeHost('install.sh of a clone, with Node.js and npm of the host', () => {
  let host: Host;
  beforeAll(async () => {
    // npm and its cache, because the guest reaches no network.
    const npm = dirname(dirname(realpathSync(output('sh', '-c', 'command -v npm'))));
    const cache = output('npm', 'config', 'get', 'cache', '--loglevel=error');
    host = await bootHost({
      suite: 'trixie',
      name: 'install-clone',
      binds: [
        `${clone}:/clone:ro`,
        `${npm}:/usr/local/lib/node_modules/npm:ro`,
        `${join(cache, '_cacache')}:/cache:ro`,
      ],
    });
    await host.exec(
      `ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
       mkdir /root/.npm && cp -r /cache /root/.npm/_cacache`,
    );
    await startPostern(host);
  });
  afterAll(() => host.stop());

  it('install.sh of a clone reports the next step if Node.js is too old or missing, and changes nothing', async () => {
    // This machine's files are mounted in the guest, and the caller's PATH follows the host's own directories.
    await host.exec(`mkdir /root/old; printf '#!/bin/sh\\necho v18.20.4\\n' >/root/old/old; touch /root/old/none
      chmod 755 /root/old/old`);
    for (const [instead, why] of [
      ['/root/old/old', 'Node.js is too old: /usr/local/bin/node is v18.20.4'],
      ['/root/old/none', 'Node.js is not installed'],
    ]) {
      await host.exec(`mount --bind ${instead} /usr/local/bin/node`);
      const { code, said } = await install(host, '', { from: '/clone', check: false });
      await host.exec('umount /usr/local/bin/node');
      expect(code).not.toBe(0);
      expect(said).toContain(why);
      expect(said).toContain('release tarball');
      expect(said).toContain('Nothing has been changed.');
    }
  });

  it('install.sh of a clone rejects a Node.js of its caller that others can change', async () => {
    await host.exec(`install -d -o nobody /home/ada/bin; install -o nobody -m 755 /bin/true /home/ada/bin/node
      touch /root/no-program; mount --bind /root/no-program /usr/local/bin/node`);
    const env = 'PATH=/home/ada/bin:/usr/sbin:/usr/bin';
    const { code, said } = await install(host, '', { from: '/clone', env, check: false });
    await host.exec('umount /usr/local/bin/node');
    expect(code).not.toBe(0);
    expect(said).toContain('/home/ada/bin/node can be changed by the user nobody');
  });

  it('install.sh of a clone builds in a separate directory, and the daemon runs with the Node.js that was found', async () => {
    await install(host, '--no-fail2ban', { from: '/clone' });
    expect((await host.exec('cat /opt/postern-auditd/NODE')).stdout).toBe('/usr/local/bin/node\n');
    expect((await host.exec('ls -A /opt')).stdout).toBe('postern-auditd\n');
    expect((await host.exec('ls /opt/postern-auditd/node_modules')).stdout).not.toMatch(/typescript|vitest/);
    await recordFailures(host, '10.77.3.3', 1);
    await host.waitFor('cat /var/log/posternproxy/audit/audit.*.log', (out) => out.includes('10.77.3.3'));
  });

  it('install.sh of a clone does not build again at a second run', async () => {
    const { said } = await install(host, '--no-fail2ban', {
      from: '/clone',
      env: 'npm_config_cache=/nowhere',
    });
    expect(said).toContain('nothing has been changed');
  });
});
