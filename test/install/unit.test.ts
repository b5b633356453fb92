import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { bash } from './bash.js';

const there = spawnSync('systemd-analyze', ['--version']).status === 0;
if (!there && process.env.CI) throw new Error('systemd-analyze is missing: apt-get install systemd');
if (!there)
  console.warn('SKIPPED the exposure of the unit: systemd-analyze is missing (apt-get install systemd)');

const unit = readFileSync('systemd/postern-auditd.service', 'utf8');
const scratch = mkdtempSync(join(tmpdir(), 'pa-unit-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The exposure level that systemd-analyze reports for a unit with a drop-in. */
function exposure(dropIn: string, text = unit): number {
  const file = join(scratch, 'postern-auditd.service');
  writeFileSync(file, `${text.replace(/\[Install\][\s\S]*/, '')}\n${dropIn}`);
  const said = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', file], {
    encoding: 'utf8',
  });
  return Number(/Overall exposure level[^:]*: ([\d.]+)/.exec(said.stdout)?.[1]);
}

const identities: ReadonlyArray<readonly [string, string, number]> = [
  ['its own user', 'User=postern-auditd\nGroup=postern-auditd\nSupplementaryGroups=posternproxy', 1.5],
  ["the database's owner", 'User=posternproxy\nGroup=posternproxy', 1.5],
  ['its own user, database in a home', 'ProtectHome=tmpfs\nBindReadOnlyPaths=-/home/ada', 1.5],
  ['root without capabilities', 'User=root\nGroup=root\nSystemCallFilter=~setpriority', 1.5],
];

it.skipIf(!there).each(identities)('as %s the exposure is at most 1.5', (_, lines, limit) => {
  expect(exposure(`[Service]\n${lines}`)).toBeLessThanOrEqual(limit);
});

it.skipIf(!there)("of fail2ban's helper, which is root, it is at most 1", () => {
  expect(exposure('', readFileSync('systemd/postern-auditd-fail2ban@.service', 'utf8'))).toBeLessThanOrEqual(
    1,
  );
});

it.skipIf(!there).each(['User=posternproxy\nGroup=posternproxy', 'User=root\nGroup=root'])(
  "of the purge, which can write Postern's database, it is at most 1: %s",
  (owner) => {
    const text = readFileSync('systemd/postern-auditd-purge.service', 'utf8');
    const dropIn = `[Service]\n${owner}\nReadWritePaths=-/var/lib/posternproxy`;
    expect(exposure(dropIn, text)).toBeLessThanOrEqual(1);
  },
);

it.skipIf(!there).each(readdirSync('systemd'))('systemd knows every directive of %s', (name) => {
  const root = mkdtempSync(join(scratch, 'verify-'));
  // /bin/true exists on every machine, so only the directives are checked.
  for (const each of readdirSync('systemd')) {
    const text = readFileSync(join('systemd', each), 'utf8');
    writeFileSync(join(root, each), text.replace(/^(ExecStart|ExecReload)=.*$/gm, '$1=/bin/true'));
  }
  const said = spawnSync('systemd-analyze', ['verify', '--man=no', join(root, name)], { encoding: 'utf8' });
  expect(said.stderr.split('\n').filter((line) => line.includes(name))).toEqual([]);
});

it('explains every hardening directive that is not set', () => {
  for (const name of [
    'MemoryDenyWriteExecute',
    'PrivateNetwork',
    'IPAddressDeny',
    'DynamicUser',
    'RootDirectory',
  ]) {
    expect(unit).toMatch(new RegExp(`^# ${name}=`, 'm'));
    expect(unit).not.toMatch(new RegExp(`^${name}=`, 'm'));
  }
});

it("never takes Postern's directory as its own", () => {
  expect(unit).not.toMatch(/^(State|Logs|Cache|Configuration)Directory=posternproxy$/m);
  expect(unit).not.toMatch(/^ReadWritePaths=.*\/var\/lib\/posternproxy/m);
});

it('gives the purge no writable path before install.sh has found the database', () => {
  const text = readFileSync('systemd/postern-auditd-purge.service', 'utf8');
  expect(text).not.toMatch(/^ReadWritePaths=/m);
  expect(text).toMatch(/^ProtectSystem=strict$/m);
  expect(unit).toContain('Environment=POSTERN_AUDITD_PURGE=/run/postern-auditd-purge.sock\n');
  expect(readFileSync('systemd/postern-auditd-purge.socket', 'utf8')).toMatch(
    /^ListenStream=\/run\/postern-auditd-purge\.sock\nSocketUser=postern-auditd\nSocketGroup=root\nSocketMode=0600$/m,
  );
});

it('has the same default paths in install/ and in the unit', () => {
  const [logs, bans, state, database] = bash(
    'printf "%s\\n" "$UNIT_LOGS" "$UNIT_BANS" "$UNIT_STATE" "$UNIT_DATABASE"',
  ).split('\n');
  expect(unit).toContain(`-o postern-auditd -g adm ${logs}\n`);
  expect(unit).toContain(`-o root -g root ${bans}\n`);
  expect(unit).toContain(`StateDirectory=${state?.split('/').at(-1)}\n`);
  expect(unit).toContain(`ReadOnlyPaths=-${database}\n`);
});

it('rejects a Node.js that is too old in the wrapper, with the next step', () => {
  const bin = join(scratch, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'node'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  execFileSync('ln', ['-s', '/bin/sh', join(bin, 'sh')]);
  for (const name of ['readlink', 'env']) execFileSync('ln', ['-s', `/usr/bin/${name}`, join(bin, name)]);
  const ran = spawnSync('bin/postern-auditd', ['--version'], { encoding: 'utf8', env: { PATH: bin } });
  expect(ran.status).toBe(1);
  expect(ran.stderr).toContain('Node.js 20.19');
});
