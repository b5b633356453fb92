import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tarOf } from '../../src/commands/support/tar-archive.js';
import { CLI, run } from './cli.js';

const shipped = resolve(import.meta.dirname, '../../fail2ban');
let scratch: string;
let config: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'jail-files-'));
  config = join(scratch, 'config.yml');
  writeFileSync(config, 'sinks: { auth: { type: fail2ban, directory: /srv/log/auth } }\n');
});
afterAll(() => rmSync(scratch, { recursive: true }));

it('an archive has the filter, each action and the jail, for any tar', () => {
  const archive = execFileSync(process.execPath, [CLI, 'jail', '--tar', '--config', config]);
  const files = join(scratch, 'files');
  execFileSync('mkdir', [files]);
  const listed = execFileSync('tar', ['-xvf', '-', '-C', files], { input: archive, encoding: 'utf8' });
  const actions = readdirSync(join(shipped, 'action.d')).map((name) => `action.d/${name}`);
  const expected = ['filter.d/posternproxy.conf', ...actions, 'jail.d/posternproxy.conf'];
  expect(new Set(listed.trim().split('\n'))).toEqual(new Set(expected));
  for (const name of expected.slice(0, -1))
    expect(readFileSync(join(files, name), 'utf8')).toBe(readFileSync(join(shipped, name), 'utf8'));
  expect(readFileSync(join(files, 'jail.d/posternproxy.conf'), 'utf8')).toBe(
    run(['jail', '--config', config]).out,
  );
  const busybox = spawnSync('busybox', ['tar', '-tf', '-'], { input: archive, encoding: 'utf8' });
  expect(busybox).toMatchObject({ status: 0, stdout: listed });
});

it('all files are printed below their paths, with the chain that is asked for', () => {
  const { out } = run(['jail', '--all', '--chain', 'INPUT,DOCKER-USER', '--config', config]);
  expect(out.match(/^==> .* <==$/gm)).toHaveLength(5);
  expect(out).toContain('==> jail.d/posternproxy.conf <==\n# The jail');
  expect(out).toContain('/srv/log/auth/fail2ban.0.log');
  expect(out).toContain('posternproxy-forward[name="posternproxy-fwd", chain="DOCKER-USER"');
});

it('a tar archive has whole blocks, sums and sizes, whatever the length of a file', () => {
  const lengths = [0, 1, 511, 512, 513];
  const archive = tarOf(
    lengths.map((length) => ({ path: `d/${length}`, text: 'x'.repeat(length) })),
    1_800_000_000,
  );
  expect(archive.length % 512).toBe(0);
  const { status, stdout, stderr } = spawnSync('tar', ['-tv', '--full-time', '--utc', '-f', '-'], {
    input: archive,
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout.trim().split('\n')).toEqual(
    lengths.map((length) =>
      expect.stringMatching(new RegExp(`^-rw-r--r-- root/root +${length} 2027-01-15 08:00:00 d/${length}$`)),
    ),
  );
  expect(() => tarOf([{ path: 'x'.repeat(101), text: '' }], 0)).toThrow(RangeError);
});
