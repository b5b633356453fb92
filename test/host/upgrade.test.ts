import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { install, release, startPostern, UNPACKED, unpack } from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const STATE = '/var/lib/postern-auditd/state.db';

describeHost('an upgrade or a step back that can not work', () => {
  let host: Host;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'bookworm',
      name: 'upgrade',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await unpack(host);
    await startPostern(host);
    await install(host, '--no-fail2ban');
    await host.exec(
      `cp -a ${UNPACKED} /root/newer; echo '# newer' >>/root/newer/config/config.yml
       cd /root/newer && find . -type f ! -path ./MANIFEST -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >MANIFEST`,
    );
  });
  afterAll(() => host.stop());

  /** What must stay as it is. */
  const running = async () =>
    (
      await host.exec(
        'systemctl show -P MainPID -P ActiveState postern-auditd; sha256sum /opt/postern-auditd/MANIFEST; ls /opt',
      )
    ).stdout;

  it('a configuration that the new version refuses leaves the old daemon running', async () => {
    await host.exec(`cp ${CONFIG} /root/good.yml; echo 'no_such_key: 1' >>${CONFIG}`);
    const before = await running();
    const { code, said } = await install(host, '', { from: '/root/newer', check: false });
    expect([code, said]).toEqual([1, expect.stringContaining('the new program rejects the configuration')]);
    expect(said).toMatch(/config\.yml:\d+:1: no_such_key: found an unknown key/);
    expect(said).toContain('Nothing has been changed.');
    expect(await running()).toBe(before);
    expect(before).toContain('active');
    await host.exec(`cp -a /root/good.yml ${CONFIG}`);
  });

  it('a state.db of a newer version leaves that version running, and the error names both', async () => {
    await host.waitFor(`test -s ${STATE} && echo there`, (out) => out.includes('there'));
    await host.exec(
      `sqlite3 ${STATE} "PRAGMA user_version = 99; UPDATE meta SET value = '9.0.0' WHERE key = 'program'"`,
    );
    const before = await running();
    const { code, said } = await install(host, '', { from: '/root/newer', check: false });
    expect(code).toBe(1);
    expect(said).toMatch(
      /state\.db was written by a newer postern-auditd, 9\.0\.0 \(version 99 of state\.db; this is postern-auditd \S+, which knows \d+\)\. Install that version or a later one again/,
    );
    expect(said).toContain('Nothing has been changed.');
    expect(await running()).toBe(before);
  });
});
