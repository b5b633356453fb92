import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CSV_HEADER } from '../../src/query/csv.js';
import {
  contentsOfExport,
  type ExportContents,
  MOST_GAPS,
  NoExport,
} from '../../src/query/export-contents.js';
import { MANIFEST, manifestFiles, parseManifest } from '../../src/query/export-manifest.js';
import { EVERYTHING } from '../../src/query/filter.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-contents-test-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function read(text: string, format: 'csv' | 'ndjson'): Promise<ExportContents> {
  const path = join(directory, 'file');
  writeFileSync(path, text);
  const file = await open(path);
  try {
    return await contentsOfExport(file, format);
  } finally {
    await file.close();
  }
}

const line = (id: number, more = '') => `{"id":"postern:${id}","created_at":null,"text":"${more}"}\n`;

describe('the contents of an export', () => {
  it('the contents of an export are found for ids in any order, and for two histories with the same ids', async () => {
    let seed = 7;
    const below = (most: number) => {
      seed = (seed * 16_807) % 2_147_483_647;
      return seed % most;
    };
    for (let round = 0; round < 200; round++) {
      const ids = Array.from({ length: 1 + below(40) }, () => below(60));
      const known = new Set(ids);
      const [first, last] = [Math.min(...ids), Math.max(...ids)];
      const gone = Array.from({ length: last - first }, (_, at) => first + at).filter((id) => !known.has(id));
      const { ids: found } = await read(ids.map((id) => line(id)).join(''), 'ndjson');
      expect(found.postern).toMatchObject({
        entries: ids.length,
        first,
        last,
        repeated: ids.length - known.size,
        missing: gone.length,
      });
      const listed = found.postern?.gaps.flatMap(([from, to]) =>
        Array.from({ length: to - from + 1 }, (_, at) => from + at),
      );
      expect(listed).toEqual(gone);
    }
  });

  it('the contents of an export are found wherever a read ends', async () => {
    const long = Array.from({ length: 40 }, (_, at) => line(at + 1, 'ä'.repeat(60_000 + at))).join('');
    expect((await read(long, 'ndjson')).ids.postern).toMatchObject({
      entries: 40,
      first: 1,
      last: 40,
      missing: 0,
    });
    const csv = Array.from(
      { length: 40 },
      (_, at) => `auditd:${at + 1},"${'""\r\n'.repeat(15_000 + at)}"\r\n`,
    );
    expect((await read(CSV_HEADER + csv.join(''), 'csv')).ids.auditd).toMatchObject({
      entries: 40,
      missing: 0,
    });
  });

  it('the contents of an export list at most as many gaps as a manifest may have, and count all', async () => {
    const text = Array.from({ length: 3 * MOST_GAPS }, (_, at) => line(2 * at)).join('');
    const { ids } = await read(text, 'ndjson');
    expect(ids.postern?.gaps).toHaveLength(MOST_GAPS);
    expect(ids.postern?.missing).toBe(3 * MOST_GAPS - 1);
  });

  it('the contents of an export include the last line of an incomplete export', async () => {
    expect(await read(`${line(1)}{"incomplete":"archive 3"}\n`, 'ndjson')).toMatchObject({
      entries: 1,
      incomplete: true,
    });
    expect(await read(`${CSV_HEADER}INCOMPLETE: archive 3,,\r\n`, 'csv')).toMatchObject({
      entries: 0,
      incomplete: true,
    });
    const contents = await read(`${line(3)}${line(1)}{"incomplete":"archive 3"}\n`, 'ndjson');
    const made = { file: 'all.ndjson', format: 'ndjson', server: 's', at: 0, contents } as const;
    const files = manifestFiles({ ...made, filter: { ...EVERYTHING, archives: true } }, null);
    const manifest = parseManifest(files[MANIFEST]);
    expect(manifest).toMatchObject({ incomplete: true, ids: { postern: { missing: 1, gaps: [[2, 2]] } } });
    expect(manifest?.gaps_mean).toContain('the last line of the file lists those that were not');
    await expect(read(`{"incomplete":"archive 3"}\n${line(1)}`, 'ndjson')).rejects.toThrow(NoExport);
  });
});
