import { mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

const ROOT = resolve(import.meta.dirname, '../..');

/** The topmost directory above the checkout that others may not enter, such as /root on Debian. */
function closed(path: string): string | null {
  const above = dirname(path);
  const higher = above === path ? null : closed(above);
  return higher ?? ((statSync(path).mode & 0o001) === 0 ? path : null);
}

/** In a separate mount namespace, the checkout keeps its path, but another directory replaces the closed one above it. */
const OPENED = [
  'set -e',
  'checkout=$0 closed=$1 aside=$2; shift 2',
  'mount --bind "$checkout" "$aside"',
  'mount -t tmpfs -o mode=755 tmpfs "$closed"',
  'mkdir -p "$checkout"',
  'mount --move "$aside" "$checkout"',
  'exec "$@"',
].join('\n');

/** The command that runs `command` as another user; for root. */
export function asUser({ uid, gid }: Identity, command: readonly string[]): string[] {
  const other = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...command];
  const shut = closed(ROOT);
  if (shut === null) return other;
  const aside = mkdtempSync(join(tmpdir(), 'postern-checkout-'));
  return ['unshare', '--mount', 'sh', '-c', OPENED, ROOT, shut, aside, ...other];
}
