import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Front } from '../../src/front.js';
import * as steps from '../../src/next-steps.js';

const root = resolve(import.meta.dirname, '../..');

/** Those that speak of install.sh for a reason: the module itself, and commands of a clone. */
const MAY_NAME_IT = ['next-steps.ts', 'front.ts', 'commands/demo/run.ts', 'commands/setup/run.ts'];

it('only one module knows the next step of each front', () => {
  const naming = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (path) =>
      /\.tsx?$/.test(path) && /install\.sh(?! and setup)/.test(readFileSync(join(root, 'src', path), 'utf8')),
  );
  expect(naming.filter((path) => !MAY_NAME_IT.includes(path))).toEqual([]);
});

const all = (how: Front): string[] => [
  steps.setUpAgain(how),
  steps.renewJail(how),
  steps.wantBans(how),
  steps.removeOrWantBans(how),
  steps.allowReading('/var/lib/posternproxy/posternproxy.db', 'chooses the user', how),
  steps.allowWriting('/var/log/posternproxy', how),
  steps.reinstall(how),
  steps.installFail2ban(how),
  steps.daemonCommand('restart', how),
  steps.makeLogFiles(how),
  steps.daemonLog(how),
];

it('a package and a container never name install.sh, and a container no unit either', () => {
  expect(all('debian').join('\n')).not.toContain('install.sh');
  expect(all('container').join('\n')).not.toMatch(
    /install\.sh|postern-auditd setup|systemctl|journalctl|apt-get/,
  );
  expect(all('installer').join('\n')).not.toContain('postern-auditd setup');
  expect(steps.setupCommand('--reconfigure', 'debian')).toBe('postern-auditd setup');
  expect(steps.setupCommand('--remove-jail', 'debian')).toBe('postern-auditd setup --remove-jail');
});

describe('check in a container', () => {
  let base: string;
  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'pa-container-'));
    for (const name of ['dist', 'fail2ban', 'config'])
      cpSync(join(root, name), join(base, name), { recursive: true });
    copyFileSync(join(root, 'package.json'), join(base, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(base, 'node_modules'));
    writeFileSync(join(base, 'front'), 'container\n');
    chmodSync(base, 0o755);
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  /** As the container's user, if the tests run as root. */
  const user = process.getuid?.() === 0 ? { uid: 65_532, gid: 65_532 } : {};

  function check(config: string): string {
    writeFileSync(join(base, 'config.yml'), config);
    const { stdout } = spawnSync(
      process.execPath,
      [join(base, 'dist/cli.js'), 'check', '--config', join(base, 'config.yml')],
      { encoding: 'utf8', env: { PATH: process.env.PATH, TZ: 'UTC' }, ...user },
    );
    return stdout;
  }

  it('says so, and has the next steps of a container', () => {
    const data = join(base, 'data');
    const said = check(`source: { database: ${data}/posternproxy.db }
state: ${base}/state
control: ${base}/control.sock
sinks: { auth: { type: fail2ban, directory: ${base}/log/auth } }
fail2ban: { bans: ${base}/log/bans/bans.log }
`);
    expect(said).toContain('this runs in a container');
    expect(said).toContain(`mount the directory of Postern's database at ${data}`);
    expect(said).not.toMatch(/install\.sh|postern-auditd setup|systemctl|journalctl|apt-get/);
  });

  it.skipIf(process.getuid?.() !== 0)('names user and group for a database that it may not read', () => {
    const database = join(base, 'closed/posternproxy.db');
    mkdirSync(join(base, 'closed'), { mode: 0o755 });
    writeFileSync(database, '', { mode: 0o640 });
    chownSync(database, 0, 4_711);
    const said = check(`source: { database: ${database} }
state: ${base}/state
control: ${base}/control.sock
sinks: { auth: { type: fail2ban, directory: ${base}/log/auth } }
`);
    expect(said).toMatch(/no permission to read .* \(owner 0:4711, mode 0640; this is uid 65532\)/);
    expect(said).toContain('(user, group_add)');
    expect(said).toContain("mount a directory there that the container's user may write: chown 65532:65532");
    expect(said).not.toMatch(/install\.sh|postern-auditd setup|systemctl|journalctl/);
    expect(statSync(database).gid).toBe(4_711);
  });
});
