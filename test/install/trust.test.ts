import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bash } from './bash.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env.CI) throw new Error('these tests make files of other users: run them as root');
if (!isRoot) console.warn('SKIPPED who may write what root reads: it needs root');

describe.skipIf(!isRoot)('the writers of a file that root uses', () => {
  let base: string;
  beforeAll(() => {
    base = mkdtempSync('/var/lib/postern-auditd-trust-');
    chmodSync(base, 0o755);
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  /** A file in a separate directory. */
  function file(name: string, directory: [number, number, number], own: [number, number, number]): string {
    const [path, inside] = [join(base, name), join(base, name, 'posternproxy.db')];
    mkdirSync(path);
    writeFileSync(inside, '');
    chownSync(inside, own[0], own[1]);
    chmodSync(inside, own[2]);
    chownSync(path, directory[0], directory[1]);
    chmodSync(path, directory[2]);
    return inside;
  }
  const strangers = (path: string) => bash('strange_writers "$1"', { args: [path] }).trim();
  const writer = (path: string) => bash('who_may_write "$1"', { args: [path] }).trim();

  it('accepts a database of root or a service account', () => {
    expect(strangers(file('service', [990, 991, 0o2770], [990, 991, 0o660]))).toBe('');
    expect(strangers(file('root', [0, 0, 0o755], [0, 0, 0o644]))).toBe('');
  });

  it.each<[string, [number, number, number], [number, number, number], string]>([
    ['own', [0, 0, 0o755], [61_001, 0, 0o644], 'the user 61001'],
    ['above', [61_001, 0, 0o755], [0, 0, 0o644], 'the user 61001'],
    ['group', [0, 61_002, 0o775], [0, 0, 0o644], 'the group 61002'],
    ['all', [0, 0, 0o755], [0, 0, 0o666], 'everybody'],
    ['sticky', [0, 0, 0o1777], [0, 0, 0o644], 'everybody'],
  ])('a person or everybody is: %s', (name, directory, own, expected) => {
    expect(strangers(file(name, directory, own))).toBe(expected);
  });

  it('rejects --database of another user with the next step, and accepts it with --trust-owner', () => {
    const path = file('word', [61_001, 61_001, 0o755], [61_001, 61_001, 0o600]);
    const choose = (trusted: string) =>
      bash(`CALLED_FROM=/ TRUSTED_OWNER=$2; (choose_database "$1" "" 2>&1 && echo "$DATABASE") || true`, {
        args: [path, trusted],
      });
    expect(choose('')).toContain('can be changed by the user 61001');
    expect(choose('')).toContain('--trust-owner 61001');
    expect(choose('61009')).toContain('can be changed by the user 61001');
    expect(choose('61001')).toBe(`${path}\n`);
  });

  it('accepts the configured database without --trust-owner', () => {
    const path = file('before', [61_001, 61_001, 0o755], [61_001, 61_001, 0o600]);
    const line = `CALLED_FROM=/ TRUSTED_OWNER=; choose_database "$1" "$2"; echo "$DATABASE"`;
    expect(bash(line, { args: ['', path] })).toBe(`${path}\n`);
    expect(bash(line, { args: [path, path] })).toBe(`${path}\n`);
  });

  it('suggests a database found elsewhere, and does not use it', () => {
    const line = `CALLED_FROM=/ TRUSTED_OWNER= DEFAULT_DATABASE=/nowhere/posternproxy.db
      find_databases() { echo /home/evil/posternproxy.db; }
      choose_database "" "" 2>&1; echo "$DATABASE"`;
    const said = bash(line);
    expect(said).toContain('/home/evil/posternproxy.db');
    expect(said).toContain('--database PATH');
    expect(said.trim().split('\n').at(-1)).toBe('/nowhere/posternproxy.db');
  });

  it('rejects a Node.js that others can change', () => {
    const evil = file('node', [61_001, 0, 0o755], [0, 0, 0o755]);
    expect(writer(evil)).toBe('the user 61001');
    expect(writer('/usr/bin/env')).toBe('');
    const bin = join(base, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'node'), '#!/bin/sh\necho v24.0.0\n', { mode: 0o755 });
    const find = `CALLER_PATH=$1 PATH=/nowhere; realpath() { /usr/bin/realpath "$@"; }; stat() { /usr/bin/stat "$@"; }
      (find_node 2>&1 && echo "$NODE") || true`;
    expect(bash(find, { args: [bin] })).toBe(`${join(bin, 'node')}\n`);
    chownSync(join(bin, 'node'), 61_001, 0);
    expect(bash(find, { args: [bin] })).toContain('can be changed by the user 61001');
  });
});
