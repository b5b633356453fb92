import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Manifest } from '../../../src/retention/archive/manifest.js';
import { repairArchives } from '../../../src/retention/archive/repair.js';
import { CAT, ENDING } from './compression.js';
import { ArchiveRig } from './table.js';

let rig: ArchiveRig;
beforeEach(() => {
  rig = new ArchiveRig();
});
afterEach(() => rig.remove());

function names(): string[] {
  return readdirSync(rig.archives).sort();
}

function manifestAt(name: string): Manifest {
  return JSON.parse(readFileSync(join(rig.archives, name), 'utf8')) as Manifest;
}

describe('an archive', () => {
  it('an archive is a private file that zcat (zstdcat) reads, with a private manifest', async () => {
    for (let n = 0; n < 3_000; n++)
      rig.insert('2026-10-31 23:59:59', `{"n":${n},"text":"${'x'.repeat(300)}"}`);
    await rig.archive();
    expect(names()).toEqual([
      '000001-postern-t1-2026-10.manifest.json',
      `000001-postern-t1-2026-10.${ENDING}`,
    ]);
    for (const name of names()) expect(statSync(join(rig.archives, name)).mode & 0o777).toBe(0o640);
    expect(statSync(rig.archives).mode & 0o777).toBe(0o750);
    const lines = execFileSync(CAT, [join(rig.archives, names()[1] ?? '')], { maxBuffer: 2 ** 26 })
      .toString()
      .split('\n');
    expect(lines).toHaveLength(3_001);
    expect(JSON.parse(lines[2_999] ?? '')).toMatchObject({ id: 3_000, row: { id: 3_000, action: 'update' } });
    const manifest = manifestAt(names()[0] ?? '');
    expect(manifest).toMatchObject({
      sequence: 1,
      source: 'postern',
      timeline: 1,
      ids: { first: 1, last: 3_000 },
      count: 3_000,
      time: { first: '2026-10-31T23:59:59.000Z', last: '2026-10-31T23:59:59.000Z' },
      previous_sha256: null,
      bytes: statSync(join(rig.archives, names()[1] ?? '')).size,
    });
    expect(manifest.blocks.length).toBeGreaterThan(2);
  });

  it('archives form a chain in the order in which they were finished', async () => {
    rig.insert('2026-10-01 00:00:00');
    rig.insert('2026-09-01 00:00:00');
    rig.insert('whenever');
    await rig.archive();
    const hash = execFileSync('sha256sum', [join(rig.archives, '000001-postern-t1-2026-10.manifest.json')]);
    expect(manifestAt('000002-postern-t1-2026-09.manifest.json').previous_sha256).toBe(
      hash.toString().slice(0, 64),
    );
    expect(manifestAt('000003-postern-t1-undated.manifest.json').time).toBeNull();
  });

  it.each([
    [
      'edited',
      "UPDATE audit_log SET action = 'delete' WHERE id = 2",
      /Row 2 has changed since it was archived/,
    ],
    ['deleted', 'DELETE FROM audit_log WHERE id = 2', /Row 2 is no longer in the table/],
  ])('an archive is not written if a row was %s in the meantime', async (_, sql, message) => {
    for (let n = 0; n < 3; n++) rig.insert('2026-10-01 00:00:00');
    const writer = rig.writer('2026-10');
    for (const row of rig.all()) writer.add(row);
    rig.db.exec(sql);
    await expect(writer.finish((ids) => rig.rows.byIds(ids))).rejects.toThrow(message);
    expect(names()).toEqual([]);
  });

  it('an archive rejects repeated rows, another order and another month', () => {
    rig.insert('2026-10-01 00:00:00');
    rig.insert('2026-11-01 00:00:00');
    const [first, second] = rig.all();
    const writer = rig.writer('2026-10');
    if (first === undefined || second === undefined) throw new Error('no rows');
    writer.add(first);
    expect(() => writer.add(first)).toThrow('does not belong');
    expect(() => writer.add(second)).toThrow('does not belong');
    writer.abort();
    expect(names()).toEqual([]);
  });
});

describe('after a crash', () => {
  it('after a crash, unfinished archives are removed, and finished ones get their final name', async () => {
    rig.insert('2026-10-01 00:00:00');
    await rig.archive();
    rig.writer('2026-11');
    const manifest = join(rig.archives, '000001-postern-t1-2026-10.manifest.json');
    renameSync(manifest, `${manifest}.tmp`);
    expect(names()).toHaveLength(3);
    expect(repairArchives(rig.archives)?.sequence).toBe(1);
    expect(names()).toEqual([
      '000001-postern-t1-2026-10.manifest.json',
      `000001-postern-t1-2026-10.${ENDING}`,
    ]);
    expect(repairArchives(rig.archives)).toBeNull();
  });

  it('a file with a missing manifest is not touched, and the chain does not continue after it', async () => {
    rig.insert('2026-10-01 00:00:00');
    await rig.archive();
    const manifest = join(rig.archives, '000001-postern-t1-2026-10.manifest.json');
    renameSync(manifest, `${manifest}.tmp`);
    writeFileSync(`${manifest}.tmp`, '{}');
    expect(repairArchives(rig.archives)).toBeNull();
    expect(names()).toEqual([`000001-postern-t1-2026-10.${ENDING}`]);
    await expect(rig.archive()).rejects.toThrow('has no manifest');
    expect(names()).toEqual([`000001-postern-t1-2026-10.${ENDING}`]);
  });
});
