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
import { manifestName, stemOf } from '../../../src/retention/archive/archive-files.js';
import { compressorOf } from '../../../src/retention/archive/compression.js';
import { hashOf, type Manifest, seal } from '../../../src/retention/archive/manifest.js';
import type { Piece } from '../../../src/retention/purge/protocol.js';
import { ArchiveReader } from '../../../src/retention/purge/read-archive.js';
import { ArchiveRig, CONFIG } from '../archive/table.js';

let rig: ArchiveRig;
let manifest: Manifest;
let reader: ArchiveReader;

beforeEach(async () => {
  rig = new ArchiveRig();
  for (const n of [1, 2, 3]) rig.insert('2026-01-01 00:00:00', `{"n":${n}}`);
  const writer = rig.writer('2026-01', { compression: 'gzip' });
  for (const row of rig.all()) writer.add(row);
  manifest = await writer.finish(() => rig.all());
  reader = readerOf(rig.archives);
});
afterEach(() => {
  reader.close();
  rig.remove();
});

function readerOf(directory: string): ArchiveReader {
  return new ArchiveReader({ directory, source: 'postern', table: CONFIG });
}

const name = manifestName(stemOf(1, 'postern', 1, '2026-01'));

function piece(more: Partial<Piece> = {}): Piece {
  return { archive: name, sha256: manifest.sha256, block: 0, below: 9, ...more };
}

/** Writes a sealed manifest with content that our writer never produces. @returns the request for it */
function forge(change: Partial<Manifest>): Piece {
  const { signature: _, sha256: __, ...body } = { ...manifest, ...change };
  const { value, text } = seal<Manifest>(body, null);
  writeFileSync(join(rig.archives, name), text);
  return piece({ sha256: value.sha256 });
}

/** Writes other lines, with a matching manifest. */
function forgeLines(lines: readonly string[]): Piece {
  const content = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  const packed = gzipSync(content);
  writeFileSync(join(rig.archives, manifest.file), packed);
  const block = [packed.length, content.length, lines.length, 1, 9, null, null] as const;
  const bytes = packed.length;
  const [count, content_bytes, ids] = [lines.length, content.length, { first: 1, last: 9 }];
  return forge({ blocks: [block], bytes, content_bytes, count, ids, file_sha256: hashOf(packed) });
}

function lines(): string[] {
  const bytes = readFileSync(join(rig.archives, manifest.file));
  return compressorOf('gzip').decompress(bytes, 1_000_000).toString().trimEnd().split('\n');
}

describe("the purge's reader of archives", () => {
  it('the purge reads the archived rows', () => {
    expect(reader.read(piece()).map(({ id, columns }) => [id, columns.details])).toEqual([
      [1, '{"n":1}'],
      [2, '{"n":2}'],
      [3, '{"n":3}'],
    ]);
  });

  it.each<[string, RegExp, () => Piece]>([
    [
      'that is missing',
      /can't be read by the purge: ENOENT.*--reconfigure/,
      () => piece({ archive: name.replace('01-', '02-') }),
    ],
    ['named by a path', /no name that a manifest has/, () => piece({ archive: `../archive/${name}` })],
    ['named by its file of rows', /no name that a manifest has/, () => piece({ archive: manifest.file })],
    [
      'that differs from the requested one',
      /not the one that was written/,
      () => piece({ sha256: '0'.repeat(64) }),
    ],
    ['without such a block', /no block 1/, () => piece({ block: 1 })],
    ['with a block before the first', /no block -1/, () => piece({ block: -1 })],
    [
      'whose manifest is a link',
      /it is a link/,
      () => {
        renameSync(join(rig.archives, name), join(rig.directory, 'elsewhere'));
        symlinkSync(join(rig.directory, 'elsewhere'), join(rig.archives, name));
        return piece();
      },
    ],
    [
      'whose rows are behind a link',
      /it is a link/,
      () => {
        renameSync(join(rig.archives, manifest.file), join(rig.directory, 'elsewhere'));
        symlinkSync(join(rig.directory, 'elsewhere'), join(rig.archives, manifest.file));
        return piece();
      },
    ],
    [
      'whose rows come through a pipe',
      /it is not a regular file/,
      () => {
        rmSync(join(rig.archives, manifest.file));
        execFileSync('mkfifo', [join(rig.archives, manifest.file)]);
        return piece();
      },
    ],
    [
      'whose manifest is a directory',
      /it is not a regular file/,
      () => {
        rmSync(join(rig.archives, name));
        mkdirSync(join(rig.archives, name));
        return piece();
      },
    ],
    [
      'whose manifest is larger than any',
      /larger than any manifest/,
      () => {
        truncateSync(join(rig.archives, name), 65 * 1024 * 1024);
        return piece();
      },
    ],
    [
      'with another byte in its manifest',
      /its text was changed/,
      () => {
        const text = readFileSync(join(rig.archives, name), 'utf8');
        writeFileSync(join(rig.archives, name), text.replace('"count": 3', '"count": 2'));
        return piece();
      },
    ],
    [
      'with another byte in its rows',
      /its bytes were changed/,
      () => {
        const bytes = readFileSync(join(rig.archives, manifest.file));
        bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
        writeFileSync(join(rig.archives, manifest.file), bytes);
        return piece();
      },
    ],
    [
      'that is cut off',
      /its size differs from its manifest/,
      () => {
        truncateSync(join(rig.archives, manifest.file), manifest.bytes - 1);
        return piece();
      },
    ],
    ['of another table', /of another table than audit_log/, () => forge({ table: 'user' })],
    ['of our own table', /manifest of another archive/, () => forge({ source: 'auditd' })],
    ['with another key', /of another table/, () => forge({ id_column: 'user_id' })],
    ['that names a file elsewhere', /is not a valid manifest/, () => forge({ file: '../../etc/shadow' })],
    [
      'that names the file of another',
      /names the file of another archive/,
      () => forge({ file: manifest.file.replace('000001', '000002') }),
    ],
    [
      'with a block that would fill the memory',
      /is not a valid manifest/,
      () => forge({ blocks: [[manifest.bytes, 2 ** 40, 3, 1, 3, null, null]] }),
    ],
    [
      'with a block that is shorter than nothing',
      /is not a valid manifest/,
      () => forge({ blocks: [[-1, -1, 3, 1, 3, null, null]], bytes: -1 }),
    ],
    ['with blocks that are none', /is not a valid manifest/, () => forge({ blocks: 'x' as unknown as [] })],
    [
      'with columns that are none',
      /is not a valid manifest/,
      () => forge({ columns: [null] as unknown as [] }),
    ],
    [
      'that unpacks to more than it says',
      /block 0 is not what its manifest says/,
      () => forge({ blocks: [[manifest.bytes, 10, 3, 1, 3, null, null]], content_bytes: 10 }),
    ],
    [
      'with a row twice',
      /not have the rows of its manifest/,
      () => forgeLines([...lines(), lines()[2] ?? '']),
    ],
    ['with a line that is no row', /block 0 is not what/, () => forgeLines(['{"id":1}'])],
    ['with no JSON', /block 0 is not what/, () => forgeLines(['root:x:0:0:root:/root:/bin/bash'])],
  ])('the purge rejects an archive %s', (_, words, request) => {
    const asked = request();
    expect(() => reader.read(asked)).toThrow(words);
  });

  it('the purge reveals nothing of a file that is not an archive', () => {
    const asked = forgeLines(['root:$6$SECRET:19000:0:99999:7:::']);
    expect(() => reader.read(asked)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('SECRET') as string }),
    );
  });
});
