import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOf, type Manifest, seal } from '../../../src/retention/archive/manifest.js';
import { run } from '../../commands/cli.js';
import { ArchiveRig } from './table.js';

const NAME = '000001-postern-t1-2026-07';
const ROWS = `${NAME}.ndjson.gz`;
const MANIFEST = `${NAME}.manifest.json`;
const MIB = 1024 * 1024;

let rig: ArchiveRig;
beforeEach(async () => {
  rig = new ArchiveRig();
  rig.insert('2026-07-01 00:00:00', '{"a":1}');
  await rig.archive({ compression: 'gzip' });
});
afterEach(() => rig.remove());

const path = (name: string) => join(rig.archives, name);

/** Changes the manifest and its hash. */
function reseal(change: object): void {
  const { signature: _, sha256: __, ...body } = JSON.parse(readFileSync(path(MANIFEST), 'utf8')) as Manifest;
  writeFileSync(path(MANIFEST), seal<Manifest>({ ...body, ...change }, null).text);
}

/** Rows that unpack to more than the size in the manifest, or to exactly that size. */
function bomb(unpacked: number, content: number): void {
  const packed = gzipSync(Buffer.alloc(unpacked));
  writeFileSync(path(ROWS), packed);
  const { length: bytes } = packed;
  const blocks = [[bytes, content, 1, 1, 1, null, null]];
  reseal({ blocks, bytes, content_bytes: content, file_sha256: hashOf(packed) });
}

function become(name: string, make: (at: string) => void): void {
  rmSync(path(name));
  make(path(name));
}

function elsewhere(name: string): void {
  const other = join(rig.directory, name);
  renameSync(path(name), other);
  symlinkSync(other, path(name));
}

const pipe = (at: string) => execFileSync('mkfifo', [at]);

describe('archive verify, cat and restore', () => {
  it.each<[string, RegExp, () => void]>([
    ['rows that are a pipe', /ndjson\.gz: it is not a regular file/, () => become(ROWS, pipe)],
    ['rows that are a directory', /ndjson\.gz: it is not a regular file/, () => become(ROWS, mkdirSync)],
    ['rows that are a link', /ndjson\.gz: it is a link/, () => elsewhere(ROWS)],
    ['a manifest that is a pipe', /manifest\.json: it is not a regular file/, () => become(MANIFEST, pipe)],
    ['a manifest that is a link', /manifest\.json: it is a link/, () => elsewhere(MANIFEST)],
    ['an anchor that is a pipe', /anchor\.json: it is not a regular file/, () => pipe(path('anchor.json'))],
    ['a manifest of a GiB', /it is larger than any manifest/, () => truncateSync(path(MANIFEST), 1024 * MIB)],
    ['rows of another length', /its size differs from its manifest/, () => truncateSync(path(ROWS), 20)],
    ['a file elsewhere', /it is not a valid manifest/, () => reseal({ file: '../out.gz' })],
    ['ids that are null', /it is not a valid manifest/, () => reseal({ ids: null })],
    ['an invalid time', /it is not a valid manifest/, () => reseal({ time: { first: 'x', last: 'y' } })],
    ['columns without names', /it is not a valid manifest/, () => reseal({ columns: [null] })],
    ['a count that is not the sum', /it is not a valid manifest/, () => reseal({ count: 2 })],
    ['the name of another month', /manifest of another archive/, () => reseal({ month: '2026-08' })],
    ['a decompression bomb with its true size', /it is not a valid manifest/, () => bomb(MIB, 1024 * MIB)],
    ['a decompression bomb with a false size', /ndjson\.gz: .*larger than/, () => bomb(64 * MIB, 100)],
    [
      'JSON that is deeper than the stack',
      /its text was changed/,
      () => writeFileSync(path(MANIFEST), `{"a":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`),
    ],
  ])('archive verify, cat and restore reject %s at once, with a message', (_, words, harm) => {
    harm();
    const at = ['--directory', rig.archives];
    const into = join(rig.directory, 'restored.db');
    for (const args of [['verify'], ['cat', '1'], ['restore', '--into', into]]) {
      const { code, out, err } = run(['archive', ...args, ...at]);
      expect({ args, code, said: `${out}${err}` }).toEqual({
        args,
        code: 1,
        said: expect.stringMatching(words) as string,
      });
      expect(err).not.toMatch(/^\s+at /m);
    }
  });

  it('archive verify rejects a directory without archives', () => {
    const empty = join(rig.directory, 'empty');
    mkdirSync(empty);
    expect(run(['archive', 'verify', '--directory', empty])).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('has no archives: nothing was verified') as string,
    });
    const config = join(rig.directory, 'config.yml');
    writeFileSync(config, `state: ${rig.directory}/state\nretention: { archive: { directory: ${empty} } }\n`);
    expect(run(['archive', 'verify', '--config', config])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^no archives: nothing was verified$/m) as string,
    });
  });
});
