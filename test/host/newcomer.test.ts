import { realpathSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeHost, type Host } from './host.js';
import { asAda, bootNewcomer, CLONE } from './newcomer.js';

const MODULES = resolve(import.meta.dirname, '../../node_modules');

/** Tests that need no other program, except the longest. newcomer.release.ts runs all of `npm ci && npm test`. */
const LOGIC = [
  'test/{audit,config,formats}/*.test.ts',
  'test/commands/{completion,line,terminal,verdict}.test.ts',
  'test/query/{filter,tally}.test.ts',
  'test/retention/{clock,holds,policy,schedule}.test.ts',
];
const LONG = 'ecs|redaction|unsafe-characters|message|config/load';

describeHost('a newcomer on a bare Debian 13, as a plain user', () => {
  let host: Host;
  beforeAll(async () => {
    // This machine's npm. Debian's needs four hundred packages; newcomer.release.ts uses it.
    const { stdout } = await execa('sh', ['-c', 'command -v npm']);
    const npm = dirname(dirname(realpathSync(stdout.trim())));
    const binds = [`${MODULES}:/modules:ro`, `${npm}:/usr/local/lib/npm:ro`];
    host = await bootNewcomer('newcomer', ['git', 'nodejs'], binds);
    await host.exec('for name in npm npx; do ln -s ../lib/npm/bin/$name-cli.js /usr/local/bin/$name; done');
    // The results of `npm ci` and the build already exist. Vitest writes into them.
    await host.exec(`mkdir -p ${CLONE}/node_modules /run/modules/u /run/modules/w && chown ada: /run/modules/u &&
      mount -t overlay modules -o lowerdir=/modules,upperdir=/run/modules/u,workdir=/run/modules/w ${CLONE}/node_modules &&
      rm -rf ${CLONE}/node_modules/.vite*`);
    await host.put(resolve(MODULES, '../dist'), join(CLONE, 'dist'));
    await host.exec(`chown -R ada: ${CLONE}/dist`);
  });
  afterAll(() => host.stop());

  it('a newcomer can run the demo and the next command that it prints', async () => {
    const said = await asAda(host, 'npm run --ignore-scripts demo');
    expect(said).toContain('203.0.113.66    6 failures → would be banned for 1 hour');
    const explain = /^ {5}(npx postern-auditd explain .*)$/m.exec(said)?.[1] ?? '';
    expect(await asAda(host, explain)).toContain('auth.login_failure');
  });

  it('the tests of pure logic pass on a bare Debian 13', async () => {
    const files = `$(ls ${LOGIC.join(' ')} | grep -vE '${LONG}')`;
    const said = await asAda(host, `NO_COLOR=1 npx vitest run --project unit ${files}`);
    // Throws the whole output if the exit code is not 0.
    expect(Number(/Tests {2}(\d+) passed/.exec(said)?.[1])).toBeGreaterThan(500);
  });
});
