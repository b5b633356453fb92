import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeHost, type Host } from './host.js';
import { asAda, bootNewcomer } from './newcomer.js';

/** What README.md asks for. */
const PACKAGES = ['git', 'nodejs', 'npm', 'build-essential', 'python3'];

describeHost('the two commands of README.md on a bare Debian 13, as a plain user', () => {
  let host: Host;
  beforeAll(async () => {
    // What npm has downloaded on this machine: the guest has no way out.
    const { stdout } = await execa('npm', ['config', 'get', 'cache', '--loglevel=error']);
    host = await bootNewcomer('newcomer-release', PACKAGES, [`${join(stdout.trim(), '_cacache')}:/cache:ro`]);
    await host.exec(
      'mkdir /home/ada/.npm && cp -r /cache /home/ada/.npm/_cacache && chown -R ada: /home/ada/.npm',
    );
    // No registry can be reached: what the lock file names comes from the cache, with its hash, or npm ends in an error.
    await host.write('/home/ada/.npmrc', 'offline=true\naudit=false\nfund=false\n');
  });
  afterAll(() => host.stop());

  it('npm ci && npm run demo', async () => {
    const said = await asAda(host, 'npm ci && npm run demo');
    expect(said).toContain('203.0.113.66    6 failures → would be banned for 1 hour');
    expect(said).toContain('npx postern-auditd explain');
  });

  it('npm ci && npm test', async () => {
    // It ends with 0, or this throws all that it said.
    const said = await asAda(host, 'NO_COLOR=1 npm ci && NO_COLOR=1 npm test');
    const summary = said.slice(said.lastIndexOf('Test Files'));
    console.info(`bare Debian 13, as a plain user:\n${summary}`);
    const [files = '', tests = ''] = summary.split('\n');
    expect(tests).toMatch(/Tests {2}\d+ passed/);
    expect(files + tests).not.toContain('failed');
    expect(said).toContain('SKIPPED');
  });
});
