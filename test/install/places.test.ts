import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bash } from './bash.js';

const isNetwork = (text: string) =>
  bash('if is_network "$1"; then echo yes; else echo no; fi', { args: [text] });

it.each(['192.0.2.7', '10.0.0.0/8', '2001:db8::1', '2001:db8:17::/48', '::1', '08.0.0.1'])(
  '%s is a network',
  (text) => {
    expect(isNetwork(text)).toBe('yes\n');
  },
);

it.each([
  'foo',
  '',
  '10.0.0.300',
  '192.0.2.7%eth0',
  '10.0.0.0/33',
  '10.0.0.0/8/8',
  '10.0.0.0/',
  '2001:db8::/129',
  'fe80::1%eth0; ls /',
])('%s is none', (text) => {
  expect(isNetwork(text)).toBe('no\n');
});

const canMount = (() => {
  if (process.getuid?.() !== 0) return false;
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();
if (!canMount && process.env.CI) throw new Error('these tests mount file systems: run them as root');
if (!canMount) console.warn('SKIPPED what install.sh says of disks: it needs root and mounts');

describe.skipIf(!canMount)('the check of disks before any change', () => {
  let base: string;
  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'pa-places-'));
    mkdirSync(join(base, 'release/node'), { recursive: true });
    writeFileSync(join(base, 'release/MANIFEST'), 'x');
    writeFileSync(join(base, 'release/node/node'), Buffer.alloc(3 * 2 ** 20));
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  /** The output of `line` with a tmpfs of these options in place of /opt. */
  function on(options: string, line: string): string {
    const target = join(base, 'opt');
    mkdirSync(target, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', target]);
    try {
      return bash(`HERE=$1/release KIND=release PREFIX=$1/opt/program\n{ ${line}; } 2>&1 || true`, {
        args: [base],
      })
        .replaceAll(base, 'BASE')
        .trim();
    } finally {
      execFileSync('umount', [target]);
    }
  }
  const look = '(FAILED=; look_at_places && echo fine)';

  it('rejects a full, noexec or read-only directory of the program', () => {
    expect(on('size=50m', look)).toBe('fine');
    expect(on('size=6m', look)).toMatch(/BASE\/opt has 6 MB free, but the program needs \d+ MB there/);
    expect(on('size=50m,noexec', look)).toContain('BASE/opt is mounted with noexec (at BASE/opt)');
    expect(on('size=50m,ro', look)).toContain('BASE/opt is read-only (mounted at BASE/opt)');
  });

  it('names a full or read-only disk after an unexpected failure', () => {
    const next = "next_step 'do this'";
    expect(on('size=50m', next)).toBe('do this');
    expect(on('size=1m', `head -c 2m /dev/zero 2>/dev/null >$PREFIX || true; ${next}`)).toBe(
      'the disk of BASE/opt is full: free some space there, then run install.sh again.',
    );
    expect(on('size=50m,ro', next)).toMatch(/^BASE\/opt is read-only .*remount,rw/);
  });
});
