import { spawnSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { verifyExport } from '../../src/commands/export/verify.js';
import type { ExportManifest } from '../../src/query/export-manifest.js';
import { seconds, Tables } from '../query/tables.js';
import { CLI, run } from './cli.js';

const ROWS = 3_000;
/** Taken out of the middle. */
const GONE = [7, 100, 101, 102, 2_500];
const NASTY = 'a "quoted"\r\nname,\npostern:5,';

let tables: Tables;
let config: string[];
let place: string;
let output: string;
let keys: { secret: string; open: string };

beforeAll(() => {
  tables = new Tables({ indexes: false });
  keys = makeKeys('audit');
  const path = join(tables.directory, 'config.yml');
  writeFileSync(
    path,
    `server: proxy-1\nsource: { database: ${tables.database} }\nstate: ${tables.directory}\n`,
  );
  config = ['--config', path];
  tables.insert(
    Array.from({ length: ROWS }, (_, at) => ({
      created_at: seconds(at),
      user_name: at % 10 === 0 ? NASTY : 'ann',
      action: 'update',
      resource_type: 'user',
      details: JSON.stringify({ text: at % 10 === 0 ? NASTY : 'x', long: 'y'.repeat(at % 700) }),
    })),
  );
  tables.postern.prepare(`DELETE FROM audit_log WHERE id IN (${GONE.join(',')})`).run();
});
afterAll(() => tables.remove());
beforeEach(() => {
  place = join(tables.directory, 'out');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place);
  output = join(place, 'all.ndjson');
});

function makeKeys(name: string): { secret: string; open: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const [secret, open] = [join(tables.directory, `${name}.key`), join(tables.directory, `${name}.pub`)];
  writeFileSync(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(open, publicKey.export({ type: 'spki', format: 'pem' }));
  return { secret, open };
}

function exported(...args: string[]): ExportManifest {
  const { code, err } = run(['export', ...config, '--manifest', '-o', output, ...args]);
  expect([code, code === 0 ? '' : err]).toEqual([0, '']);
  return JSON.parse(readFileSync(`${output}.manifest.json`, 'utf8')) as ExportManifest;
}

function verified(...args: string[]): { code: number | null; out: string; err: string } {
  return run(['export', 'verify', output, ...args]);
}

/** A signed one, made once, to be tampered with. */
function signedExport(format: 'csv' | 'ndjson'): void {
  const made = join(tables.directory, 'signed');
  mkdirSync(made, { recursive: true });
  output = join(made, `all.${format}`);
  if (!existsSync(output)) exported('--sign', keys.secret);
  for (const suffix of ['', '.manifest.json', '.manifest.json.sig'])
    copyFileSync(`${output}${suffix}`, join(place, `all.${format}${suffix}`));
  output = join(place, `all.${format}`);
}

async function wrongWith(key: string | null): Promise<string | null> {
  return (await verifyExport(output, key === null ? null : createPublicKey(readFileSync(key)))).wrong;
}

/** Changes a file in its place. */
function edit(path: string, change: (text: string) => string): void {
  const before = readFileSync(path, 'latin1');
  const after = change(before);
  expect(after).not.toBe(before);
  writeFileSync(path, after, 'latin1');
}

describe('export --manifest', () => {
  it.each(['ndjson', 'csv'])('describes a file of %s with its missing ids', (format) => {
    output = join(place, `all.${format}`);
    const manifest = exported();
    const bytes = readFileSync(output);
    expect(manifest).toMatchObject({
      kind: 'postern-auditd export',
      file: `all.${format}`,
      format,
      server: 'proxy-1',
      filter: { archives: expect.any(Boolean) },
      entries: ROWS - GONE.length,
      bytes: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      incomplete: false,
      ids: {
        postern: {
          entries: ROWS - GONE.length,
          first: 1,
          last: ROWS,
          repeated: 0,
          missing: GONE.length,
          gaps: [
            [7, 7],
            [100, 102],
            [2_500, 2_500],
          ],
        },
      },
      signed_with: null,
    });
    const { code, out } = verified();
    expect(code).toBe(0);
    expect(out).toContain('ids 1 to 3000, 5 missing in between: 7, 100-102, 2500\nnothing is wrong\n');
    expect(readdirSync(place).sort()).toEqual([`all.${format}`, `all.${format}.manifest.json`]);
  });

  it('lists no gaps when a filter leaves out rows, and reports that', () => {
    const manifest = exported('--user', 'ann');
    expect(manifest.filter).toMatchObject({ user: 'ann' });
    expect(manifest.ids.postern).toMatchObject({ first: 2, last: ROWS, missing: null, gaps: null });
    expect(manifest.gaps_mean).toContain('the filter (user) leaves rows out');
    expect(verified().out).toContain('filter: user=ann\n');
    expect(verified().out).toContain('a filter was given, so gaps are unknown');
  });

  it('lists the gaps within a span of time, with a remark on times', () => {
    const manifest = exported('--from', '2026-11-01T00:01:00Z', '--to', '2026-11-01T00:02:00Z');
    expect(manifest.ids.postern).toMatchObject({ first: 61, last: 120, entries: 57, missing: 3 });
    expect(manifest.filter).toMatchObject({
      from: '2026-11-01T00:01:00.000Z',
      to: '2026-11-01T00:02:00.000Z',
    });
    expect(manifest.gaps_mean).toContain('outside the filter');
  });

  it('describes a file without entries', () => {
    expect(exported('--user', 'nobody')).toMatchObject({ entries: 0, bytes: 0, ids: {} });
    expect(verified().code).toBe(0);
  });

  it('signs the manifest, and openssl verifies it', () => {
    const manifest = exported('--sign', keys.secret);
    expect(manifest.signed_with).toMatch(/^[0-9a-f]{16}$/);
    const { code, out } = verified('--key', keys.open);
    expect([code, out]).toEqual([0, expect.stringContaining(`signed with the key ${manifest.signed_with}`)]);
    const files = ['-in', `${output}.manifest.json`, '-sigfile', `${output}.manifest.json.sig`];
    const args = ['pkeyutl', '-verify', '-pubin', '-inkey', keys.open, '-rawin', ...files];
    const { status, stdout } = spawnSync('openssl', args, { encoding: 'utf8' });
    expect([status, stdout]).toEqual([0, 'Signature Verified Successfully\n']);
  });

  it('signs with the key of archives by default', () => {
    const path = join(tables.directory, 'signing.yml');
    const archive = `retention: { archive: { sign: ${keys.secret} } }\n`;
    writeFileSync(path, `${readFileSync(config[1] ?? '', 'utf8')}${archive}`);
    const args = ['export', '--config', path, '--manifest', '-o', output];
    expect(run(args).code).toBe(0);
    expect(verified('--key', keys.open).code).toBe(0);
    expect(run([...args, '--no-sign']).code).toBe(0);
    expect(existsSync(`${output}.manifest.json.sig`)).toBe(false); // it would not be of this manifest
    expect(verified().code).toBe(0);
  });

  it.each<[string, () => string[], RegExp]>([
    [
      'a manifest of standard output',
      () => ['--manifest'],
      /--manifest: the manifest is written beside a file\. Name the file with -o/,
    ],
    ['a key and no manifest', () => ['-o', output, '--sign', keys.secret], /Also give --manifest/],
    [
      'no key',
      () => ['-o', output, '--manifest', '--sign', '/not/there'],
      /can't be used: ENOENT.*--no-sign/,
    ],
    ['no private key', () => ['-o', output, '--manifest', '--sign', keys.open], /can't be used.*--no-sign/],
  ])('rejects %s before it writes anything', (_, args, message) => {
    const { code, err, out } = run(['export', ...config, ...args()]);
    expect([code === 0, out, err]).toEqual([false, '', expect.stringMatching(message)]);
    expect(readdirSync(place)).toEqual([]);
  });

  it('keeps the previous files when the disk is full, and leaves none of its own', () => {
    exported();
    const before = readdirSync(place).map((name) => [name, readFileSync(join(place, name), 'utf8')]);
    const args = [process.execPath, CLI, 'export', ...config, '--manifest', '-o', output].map(
      (one) => `'${one}'`,
    );
    const { status } = spawnSync('bash', ['-c', `ulimit -f 8; ${args.join(' ')}`], { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(readdirSync(place).map((name) => [name, readFileSync(join(place, name), 'utf8')])).toEqual(before);
  });

  it('writes no file when the name of its manifest is taken', () => {
    mkdirSync(`${output}.manifest.json`);
    const { code, err } = run(['export', ...config, '--manifest', '-o', output]);
    expect([code, err]).toEqual([2, expect.stringContaining('manifest.json is not a regular file')]);
    expect(readdirSync(place)).toEqual(['all.ndjson.manifest.json']);
  });

  it('writes through a link, and verifies through it', () => {
    const link = join(place, 'link.csv');
    writeFileSync(join(place, 'real.csv'), '');
    symlinkSync('real.csv', link);
    output = link;
    expect(run(['export', ...config, '--manifest', '-o', link]).code).toBe(0);
    expect(existsSync(join(place, 'real.csv.manifest.json'))).toBe(true);
    expect(verified().code).toBe(0);
  });
});

describe('export verify', () => {
  const manifest = () => `${output}.manifest.json`;
  const signature = () => `${manifest()}.sig`;
  const rehash = (text: string) =>
    text.replace(/"sha256": "[0-9a-f]+"/, () => {
      const bytes = readFileSync(output);
      return `"sha256": "${createHash('sha256').update(bytes).digest('hex')}"`;
    });

  it.each<[string, 'csv' | 'ndjson', () => void, RegExp]>([
    [
      'a byte of the file',
      'ndjson',
      () => edit(output, (text) => text.replace('ann', 'bob')),
      /its bytes were changed/,
    ],
    [
      'a byte of CSV',
      'csv',
      () => edit(output, (text) => text.replace('ann', 'bob')),
      /its bytes were changed/,
    ],
    [
      'a line that was cut out',
      'ndjson',
      () => edit(output, (text) => text.replace(/^[^\n]*\n/, '')),
      /it has \d+ bytes/,
    ],
    ['half a line', 'ndjson', () => edit(output, (text) => text.slice(0, -9)), /its last line is incomplete/],
    ['another file', 'ndjson', () => writeFileSync(output, 'x\n'), /line 1 is not an entry/],
    [
      'CSV without its columns',
      'csv',
      () => edit(output, (text) => text.replace(/^[^\n]*\n/, '')),
      /first line is not the header/,
    ],
    ['an empty file', 'csv', () => writeFileSync(output, ''), /its header line is missing/],
    [
      'a count',
      'ndjson',
      () => edit(manifest(), (text) => text.replace('"entries": 2995', '"entries": 2994')),
      /the manifest was changed/,
    ],
    [
      'gaps taken out of the manifest',
      'ndjson',
      () => edit(manifest(), (text) => text.replace(/"gaps": \[[\s\S]*?\]\s*\]/, '"gaps": []')),
      /its ids differ from its manifest/,
    ],
    ['a manifest that is none', 'ndjson', () => writeFileSync(manifest(), '{}'), /is not an export manifest/],
    ['a signature that is gone', 'ndjson', () => rmSync(signature()), /\.sig is missing/],
    [
      'a signature that is said not to be there',
      'ndjson',
      () => edit(manifest(), (text) => text.replace(/"signed_with": ".*"/, '"signed_with": null')),
      /\.sig is not of this manifest/,
    ],
  ])('finds %s without a key', async (_, format, tamper, message) => {
    signedExport(format);
    expect(await wrongWith(null)).toBeNull();
    tamper();
    expect(await wrongWith(null)).toMatch(message);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'both the file and its manifest',
      () => {
        edit(output, (text) => text.replace('"ann"', '"bob"'));
        edit(manifest(), rehash);
      },
      /its signature is invalid/,
    ],
    [
      'the filter that was asked for',
      () => edit(manifest(), (text) => text.replace('proxy-1', 'proxy-2')),
      /its signature is invalid/,
    ],
    ['the signature', () => writeFileSync(signature(), Buffer.alloc(64)), /its signature is invalid/],
    [
      'half a signature',
      () => writeFileSync(signature(), readFileSync(signature()).subarray(0, 20)),
      /its signature is invalid/,
    ],
    ['no signature', () => rmSync(signature()), /its signature is missing/],
    [
      'a manifest that was made anew without one',
      () => {
        rmSync(signature());
        edit(manifest(), (text) => text.replace(/"signed_with": ".*"/, '"signed_with": null'));
      },
      /it is not signed/,
    ],
    [
      'a signature of another key',
      () => void exported('--sign', makeKeys('other').secret),
      /signed with the key [0-9a-f]{16}, but the given key is [0-9a-f]{16}/,
    ],
  ])('finds %s with a key', async (_, tamper, message) => {
    signedExport('ndjson');
    expect(await wrongWith(keys.open)).toBeNull();
    tamper();
    expect(await wrongWith(keys.open)).toMatch(message);
  });

  it('exits with 1 when something is wrong, and reports it as text and as JSON', () => {
    signedExport('ndjson');
    expect(JSON.parse(verified('--key', keys.open, '--json').out)).toMatchObject({
      wrong: null,
      signature: 'right',
      manifest: { entries: ROWS - GONE.length },
    });
    edit(output, (text) => text.replace('"ann"', '"bob"'));
    edit(manifest(), rehash);
    const unsigned = verified();
    expect(unsigned.code).toBe(0); // without a key nobody can tell
    expect(unsigned.out).toMatch(
      /^note: the signature \(key [0-9a-f]{16}\) was not checked: give the public key/,
    );
    const { code, out } = verified('--key', keys.open);
    expect([code, out]).toEqual([
      1,
      expect.stringMatching(/^WRONG: .*its signature is invalid.*\. Copy the file/),
    ]);
    const json = verified('--key', keys.open, '--json');
    expect([json.code, JSON.parse(json.out)]).toMatchObject([1, { signature: 'wrong' }]);
  });

  it('names a missing file, and what to give instead', () => {
    expect(verified()).toMatchObject({
      code: 1,
      err: expect.stringMatching(/manifest\.json does not exist\. Give/),
    });
    exported();
    rmSync(output);
    expect(verified()).toMatchObject({
      code: 1,
      err: expect.stringMatching(/all\.ndjson does not exist\. Give/),
    });
    spawnSync('mkfifo', [output]);
    expect(verified()).toMatchObject({ code: 2, err: expect.stringMatching(/is not a regular file\. Give/) });
  });
});
