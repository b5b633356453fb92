import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Removal } from '../../../src/retention/archive/anchor.js';
import { expiredUpTo, removeArchives } from '../../../src/retention/archive/expire.js';
import { listArchives } from '../../../src/retention/archive/list.js';
import { keyName } from '../../../src/retention/archive/manifest.js';
import type { ChainHead } from '../../../src/retention/archive/manifest-chain.js';
import { repairArchives } from '../../../src/retention/archive/repair.js';
import { verifyArchives } from '../../../src/retention/archive/verify.js';
import { ENDING } from './compression.js';
import { ArchiveRig, NOW, removalOf } from './table.js';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
/** Flips each bit of every byte instead of one. */
const ALL_BITS = process.env.ARCHIVE_BITS !== undefined;
const MANIFESTS = [
  '000001-postern-t1-2026-07.manifest.json',
  '000002-postern-t1-2026-08.manifest.json',
  '000003-postern-t1-2026-09.manifest.json',
] as const;

let rig: ArchiveRig;
beforeEach(async () => {
  rig = new ArchiveRig();
  for (const month of ['07', '08', '09']) {
    rig.insert(`2026-${month}-01 00:00:00`, '{"a":1}');
    rig.insert(`2026-${month}-30 00:00:00`);
  }
  await rig.archive({ sign: privateKey });
});
afterEach(() => rig.remove());

/** Removes archives like a run, without the record. */
function remove(upTo: number, sign: typeof privateKey | null = privateKey): Removal {
  const removal = removalOf(rig.archives, upTo);
  removeArchives(rig.archives, removal, sign);
  return removal;
}

function broken(known: readonly ChainHead[] = [], key: typeof publicKey | null = null): string {
  const verdict = verifyArchives(rig.archives, { key, known });
  return verdict.broken === null ? 'whole' : `${verdict.broken.name}: ${verdict.broken.what}`;
}

function path(name: string): string {
  return join(rig.archives, name);
}

describe('archive verify', () => {
  it('archive verify finds no fault in unchanged archives, and reports the end of the chain', () => {
    expect(broken([], publicKey)).toBe('whole');
    const { archives, rows, head } = verifyArchives(rig.archives, { key: null, known: [] });
    expect({ archives, rows, end: head.sequence }).toEqual({ archives: 3, rows: 6, end: 3 });
  });

  it('archive verify finds every changed byte in each file, and names the file', () => {
    remove(2, null);
    let flips = 0;
    for (const name of readdirSync(rig.archives)) {
      const bytes = readFileSync(path(name));
      for (let at = 0; at < bytes.length; at++) {
        for (const bits of ALL_BITS ? [1, 2, 4, 8, 16, 32, 64, 128] : [1 << (at % 8)]) {
          const changed = Buffer.from(bytes);
          changed[at] = (bytes[at] ?? 0) ^ bits;
          writeFileSync(path(name), changed);
          const found = broken();
          if (!found.startsWith(name)) expect.fail(`byte ${at} of ${name} ^ ${bits}: ${found}`);
          flips++;
        }
      }
      for (const changed of [
        bytes.subarray(0, -1),
        Buffer.concat([bytes, Buffer.from('\n')]),
        Buffer.alloc(0),
      ]) {
        writeFileSync(path(name), changed);
        expect(broken()).toContain(name);
      }
      writeFileSync(path(name), bytes);
    }
    expect(flips).toBeGreaterThan(1_500);
    expect(broken()).toBe('whole');
  });

  it.each([
    [
      'a missing file',
      () => rmSync(path(MANIFESTS[1].replace('manifest.json', ENDING))),
      `000002-postern-t1-2026-08.${ENDING}: it is missing`,
    ],
    ['a missing manifest', () => rmSync(path(MANIFESTS[1])), 'archive 000002: its manifest is missing'],
    ['a missing beginning', () => rmSync(path(MANIFESTS[0])), 'archive 000001: its manifest is missing'],
    [
      'an additional file',
      () =>
        copyFileSync(path(`000002-postern-t1-2026-08.${ENDING}`), path('000002-postern-t1-2026-08.ndjson')),
      '000002-postern-t1-2026-08.ndjson: no manifest names it',
    ],
    [
      'an additional manifest',
      () => copyFileSync(path(MANIFESTS[1]), path('000004-postern-t1-2026-08.manifest.json')),
      '000004-postern-t1-2026-08.manifest.json: it is the manifest of another archive',
    ],
    ['an unknown file', () => writeFileSync(path('notes.txt'), ''), 'notes.txt: it is not part of the chain'],
    [
      'a manifest lost at the end',
      () => rmSync(path(MANIFESTS[2])),
      `000003-postern-t1-2026-09.${ENDING}: no manifest names it`,
    ],
  ])('archive verify finds %s', (_, harm, expected) => {
    harm();
    expect(broken()).toBe(expected);
  });

  it('archive verify accepts only leftovers of a crash between the last two steps of an archive', () => {
    const [manifest, file] = [MANIFESTS[2], `000003-postern-t1-2026-09.${ENDING}`];
    const bytes = readFileSync(path(file));
    renameSync(path(manifest), path(`${manifest}.tmp`));
    const verdict = verifyArchives(rig.archives, { key: publicKey, known: [] });
    expect(verdict).toMatchObject({ broken: null, archives: 2, head: { sequence: 2 } });
    expect(verdict.notes).toEqual([expect.stringMatching(`^${file} is complete.*the next run repairs that`)]);
    expect(broken([], generateKeyPairSync('ed25519').publicKey)).not.toBe('whole');
    writeFileSync(
      path(file),
      bytes.map((byte, at) => (at === 9 ? byte ^ 1 : byte)),
    );
    expect(broken([], publicKey)).toBe(`${file}: no manifest names it`);
    writeFileSync(path(file), bytes);
    const [sealed, another] = [path(`${manifest}.tmp`), path(MANIFESTS[1])].map((name) => readFileSync(name));
    writeFileSync(path(`${manifest}.tmp`), another ?? '');
    expect(broken([], publicKey)).toBe(`${file}: no manifest names it`);
    writeFileSync(path(`${manifest}.tmp`), sealed ?? '');
    repairArchives(rig.archives);
    expect(verifyArchives(rig.archives, { key: publicKey, known: [] })).toMatchObject({
      broken: null,
      notes: [],
      archives: 3,
    });
  });

  it('archive verify finds two swapped archives', () => {
    renameSync(path(MANIFESTS[1]), path('x.tmp'));
    renameSync(path(MANIFESTS[2]), path(MANIFESTS[1]));
    renameSync(path('x.tmp'), path(MANIFESTS[2]));
    expect(broken()).toBe(`${MANIFESTS[1]}: it is the manifest of another archive`);
  });

  it('archive verify finds archives rewritten without the key', async () => {
    const forger = new ArchiveRig();
    forger.insert('2026-07-01 00:00:00', '{"a":2}');
    await forger.archive();
    for (const name of readdirSync(forger.archives)) copyFileSync(join(forger.archives, name), path(name));
    forger.remove();
    expect(broken([], publicKey)).toBe(`${MANIFESTS[0]}: it is not signed`);
    expect(broken()).toBe(`${MANIFESTS[1]}: it does not link to the archive before it`);
  });

  it('archive verify names the signing key and the given key if they differ', () => {
    const { publicKey: other } = generateKeyPairSync('ed25519');
    const [signed, given] = [keyName(publicKey), keyName(other)];
    expect(broken([], publicKey)).toBe('whole');
    expect(broken([], other)).toBe(
      `${MANIFESTS[0]}: it is signed with the key ${signed}, and not with ${given}, which was given`,
    );
  });

  it('archive verify finds archives cut off from the end if the end was recorded', () => {
    const { head } = verifyArchives(rig.archives, { key: null, known: [] });
    expect(broken([head])).toBe('whole');
    for (const name of readdirSync(rig.archives)) if (name.startsWith('000003')) rmSync(path(name));
    expect(broken()).toBe('whole');
    expect(broken([head])).toBe('archive 000003: it was recorded, and is missing at the end of the chain');
    expect(broken([{ sequence: 2, sha256: '0'.repeat(64) }])).toContain(
      'differs from the one that was recorded',
    );
  });

  it('archive verify names the archives after the recorded end', async () => {
    const { head, notes } = verifyArchives(rig.archives, { key: null, known: [] });
    expect(notes).toEqual([]);
    expect(verifyArchives(rig.archives, { key: null, known: [head] }).notes).toEqual([]);
    rig.insert('2026-12-01 00:00:00');
    await rig.archive();
    expect(verifyArchives(rig.archives, { key: null, known: [head] })).toMatchObject({
      broken: null,
      notes: [expect.stringMatching(/^archives 4-\d+ follow the recorded end: .* put there by/)],
    });
  });
});

describe('expired archives', () => {
  it('expired archives are removed from the oldest, and the others pass verify', async () => {
    const archives = listArchives(rig.archives);
    const day = 86_400_000;
    expect(expiredUpTo(archives, null, NOW)).toBe(0);
    expect(expiredUpTo(archives, 80 * day, NOW)).toBe(0); // their rows are older, but the archives are new
    expect(expiredUpTo(archives, 80 * day, NOW + 80 * day)).toBe(0);
    expect(expiredUpTo(archives, 80 * day, NOW + 80 * day + 1)).toBe(3);
    remove(2);
    expect(readdirSync(rig.archives)).toEqual([
      '000003-postern-t1-2026-09.manifest.json',
      `000003-postern-t1-2026-09.${ENDING}`,
      'anchor.json',
    ]);
    expect(broken([], publicKey)).toBe('whole');
    expect(broken([{ sequence: 1, sha256: 'a' }])).toBe('whole');
    const begin = remove(3);
    rig.db.exec('DELETE FROM audit_log');
    rig.insert('2026-10-01 00:00:00');
    await rig.archive({ sign: privateKey, begin });
    expect(listArchives(rig.archives).map(({ sequence }) => sequence)).toEqual([4]);
    expect(broken([], publicKey)).toBe('whole');
  });

  it('expired archives left by a crash are not a fault, and the next run removes them', () => {
    const [manifest, file] = readdirSync(rig.archives);
    const kept = [manifest, file].map((name) => [name ?? '', readFileSync(path(name ?? ''))] as const);
    const removal = remove(1);
    for (const [name, bytes] of kept) writeFileSync(path(name), bytes);
    expect(broken([], publicKey)).toContain('anchor.json: it says that archives up to 1 were removed, and');
    const options = { key: publicKey, known: [], removals: [removal] };
    expect(verifyArchives(rig.archives, options).broken).toBeNull();
    repairArchives(rig.archives, removal);
    expect(readdirSync(rig.archives)).toContain(file);
    repairArchives(rig.archives, removal, removal.sequence);
    expect(readdirSync(rig.archives)).not.toContain(file);
  });

  it('archive verify reports removed archives, the time, and whether the removal is recorded', () => {
    const removal = remove(1);
    const adopted = { ...removal, time: '2026-11-30T00:00:00.000Z', adopted: 'command' as const };
    const say = (removals: readonly Removal[] | null) => {
      const { notes, broken: found } = verifyArchives(rig.archives, { key: publicKey, known: [], removals });
      return found === null ? notes.join() : `${found.name}: ${found.what}`;
    };
    const gone = 'the chain begins at 2; the first one was removed on 2026-11-25';
    expect(say([removal])).toBe(`${gone}, recorded`);
    expect(say([adopted])).toBe(`${gone}, not recorded: the anchor was adopted on 2026-11-30`);
    expect(say(null)).toBe(`${gone}, which was not compared with what the daemon has recorded`);
    expect(say([{ ...removal, sha256: 'a' }])).toMatch(/^anchor\.json: .*is not recorded/);
    rmSync(path('anchor.json'));
    expect(say([removal])).toContain(`${gone}, recorded`);
    expect(say([])).toBe('archive 000001: its manifest is missing');
  });

  it('expired archives stay if a younger one precedes them', () => {
    const ages = ['2026-01-01', '2026-10-01', '2026-01-01'].map((last, at) => ({
      sequence: at + 1,
      time: { first: last, last },
      created: last,
    }));
    expect(expiredUpTo(ages, 90 * 86_400_000, NOW)).toBe(1);
  });
});
