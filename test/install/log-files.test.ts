import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FilePair, PAIR } from '../../src/sinks/files/fail2ban-files.js';
import { realDisk } from '../../src/sinks/files/filesystem.js';
import { bash } from './bash.js';

const SCRIPT = 'fail2ban/postern-auditd-log-files';
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pa-log-files-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function make(): { status: number | null; said: string } {
  const ran = spawnSync('sh', [SCRIPT, directory], { encoding: 'utf8' });
  return { status: ran.status, said: ran.stderr };
}

/** The pair of files as the daemon finds it. */
function taken() {
  return new FilePair({ directory, mode: 0o640, group: null }, realDisk).list();
}

it('creates both files with different first lines, and the daemon accepts them', () => {
  expect(make()).toEqual({ status: 0, said: '' });
  expect(taken().map(({ number }) => number)).toEqual([0, 1]);
  const [first, second] = PAIR.map((name) => readFileSync(join(directory, name), 'utf8'));
  expect(first).not.toBe(second);
  expect(readdirSync(directory).sort()).toEqual([...PAIR]);
});

it.skipIf(process.geteuid?.() !== 0)('gives them the mode and the group that the configuration has', () => {
  const ran = (group: string) => spawnSync('sh', [SCRIPT, directory, '0644', group], { encoding: 'utf8' });
  expect(ran('daemon')).toMatchObject({ status: 0, stderr: '' });
  const daemon = Number(execFileSync('getent', ['group', 'daemon'], { encoding: 'utf8' }).split(':')[2]);
  const found = () =>
    PAIR.map((name) => lstatSync(join(directory, name))).map(({ mode, gid }) => [mode & 0o777, gid]);
  expect(found()).toEqual([
    [0o644, daemon],
    [0o644, daemon],
  ]);
  for (const name of PAIR) rmSync(join(directory, name));
  // A missing group does not prevent the files.
  expect(ran('no-such-group')).toMatchObject({
    status: 0,
    stderr: expect.stringContaining('keeps its group'),
  });
  expect(taken()).toHaveLength(2);
});

it('keeps existing files and creates a missing one', () => {
  make();
  const path = join(directory, PAIR[1]);
  writeFileSync(path, 'a line of the daemon\n', { flag: 'a' });
  const before = readFileSync(path);
  rmSync(join(directory, PAIR[0]));
  expect(make().status).toBe(0);
  expect(readFileSync(path)).toEqual(before);
  expect(taken()).toHaveLength(2);
});

it('removes a pipe, a link and a directory in place of a log file, and follows no link', () => {
  const elsewhere = join(directory, 'elsewhere');
  mkdirSync(elsewhere);
  for (const prepare of [
    (path: string) => execFileSync('mkfifo', [path]),
    (path: string) => symlinkSync(join(elsewhere, 'made'), path),
    (path: string) => mkdirSync(path),
  ]) {
    for (const name of PAIR) {
      rmSync(join(directory, name), { force: true, recursive: true });
      prepare(join(directory, name));
    }
    const { status, said } = make();
    expect(said).toContain('was not a regular file and has been removed or renamed');
    expect(status).toBe(0);
    expect(PAIR.map((name) => lstatSync(join(directory, name)).isFile())).toEqual([true, true]);
  }
  expect(readdirSync(elsewhere)).toEqual([]);
  expect(taken()).toHaveLength(2);
});

it('writes the first line of an empty file', () => {
  for (const name of PAIR) writeFileSync(join(directory, name), '');
  expect(make().status).toBe(0);
  expect(taken()).toHaveLength(2);
});

const root = process.geteuid?.() === 0;
if (!root) console.warn('SKIPPED log files on a full disk, and of a directory of somebody else: root only');

it.skipIf(!root)('creates empty files on a full disk, and fails', () => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'tmpfs', directory]);
  try {
    writeFileSync(join(directory, 'full'), Buffer.alloc(8_192));
    const { status, said } = make();
    expect(status).toBe(1);
    expect(said).toContain('the first line can not be written');
    expect(PAIR.map((name) => lstatSync(join(directory, name)).size)).toEqual([0, 0]);
    rmSync(join(directory, 'full'));
    expect(make().status).toBe(0);
    expect(taken()).toHaveLength(2);
  } finally {
    execFileSync('umount', [directory]);
  }
});

it.skipIf(!root)('changes nothing that its user can not write', () => {
  chmodSync(directory, 0o755);
  const ran = spawnSync(
    'setpriv',
    ['--reuid=65534', '--regid=65534', '--clear-groups', 'sh', '-s', directory],
    {
      input: readFileSync(SCRIPT),
      encoding: 'utf8',
    },
  );
  expect(ran.status).toBe(1);
  expect(readdirSync(directory)).toEqual([]);
});

const render = (user: string, places: string) =>
  bash(`RUN_USER=${user} RUN_GROUP=${user} PREFIX=/opt/postern-auditd\nrender_log_files ${places}`);

it('needs no drop-in for the default configuration', () => {
  const own = '/var/log/posternproxy/bans /var/log/posternproxy/auth $UNIT_LOGS';
  expect(render('postern-auditd', own)).toBe('');
  expect(render('posternproxy', own)).toContain('-o posternproxy -g adm /var/log/posternproxy/auth');
});

it('creates the files with the configured mode and group', () => {
  const line = `RUN_USER=postern-auditd RUN_GROUP=postern-auditd PREFIX=/opt/postern-auditd FACTS=([auth_mode]=0644 [auth_group]=-)
    render_log_files /var/log/posternproxy/bans /var/log/posternproxy/auth $UNIT_LOGS`;
  expect(bash(line)).toContain('postern-auditd-log-files /var/log/posternproxy/auth 0644 -\n');
});

it('creates the files in the configured directory', () => {
  expect(render('posternproxy', "/srv/bans '/srv/our logs/auth' /srv/audit '/srv/our logs/auth'")).toBe(
    `# Written by install.sh from the configuration; install.sh --reconfigure rewrites it.
[Unit]
RequiresMountsFor=/srv/bans
RequiresMountsFor=/srv/audit
RequiresMountsFor="/srv/our logs/auth"
[Service]
User=posternproxy
Group=posternproxy
ExecStartPre=
ExecStartPre=+/usr/bin/install -d -m 2750 -o posternproxy -g adm /srv/audit
ExecStartPre=+/usr/bin/install -d -m 2750 -o posternproxy -g adm "/srv/our logs/auth"
ExecStartPre=+/usr/bin/install -d -m 0755 -o root -g root /srv/bans
ExecStart=
ExecStart=/bin/sh /opt/postern-auditd/fail2ban/postern-auditd-log-files "/srv/our logs/auth"
ReadWritePaths="-/srv/our logs/auth"
`,
  );
});
