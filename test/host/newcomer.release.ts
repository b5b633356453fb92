import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeHost, type Host } from './host.js';
import { asAda, bootNewcomer } from './newcomer.js';

/** The requirements in README.md. */
const PACKAGES = ['git', 'nodejs', 'npm', 'build-essential', 'python3'];

describeHost('the two commands of README.md on a bare Debian 13, as a plain user', () => {
  let host: Host;
  beforeAll(async () => {
    // This machine's npm cache, because the guest reaches no network.
    const { stdout } = await execa('npm', ['config', 'get', 'cache', '--loglevel=error']);
    host = await bootNewcomer('newcomer-release', PACKAGES, [`${join(stdout.trim(), '_cacache')}:/cache:ro`]);
    await host.exec(
      'mkdir /home/ada/.npm && cp -r /cache /home/ada/.npm/_cacache && chown -R ada: /home/ada/.npm',
    );
    // No registry is reachable. npm takes the packages of the lock file from the cache, with their hashes, or fails.
    await host.write('/home/ada/.npmrc', 'offline=true\naudit=false\nfund=false\n');
  });
  afterAll(() => host.stop());

  it('npm ci && npm run demo works on a bare Debian 13', async () => {
    const said = await asAda(host, 'npm ci && npm run demo');
    expect(said).toContain('203.0.113.66    6 failures → would be banned for 1 hour');
    expect(said).toContain('npx postern-auditd explain');
  });

  it('npm ci && npm test passes on a bare Debian 13', async () => {
    // Throws the whole output if the exit code is not 0.
    const said = await asAda(host, 'NO_COLOR=1 npm ci && NO_COLOR=1 npm test');
    const summary = said.slice(said.lastIndexOf('Test Files'));
    console.info(`bare Debian 13, as a plain user:\n${summary}`);
    const [files = '', tests = ''] = summary.split('\n');
    expect(tests).toMatch(/Tests {2}\d+ passed/);
    expect(files + tests).not.toContain('failed');
    expect(said).toContain('SKIPPED');
  });
});
