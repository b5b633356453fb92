import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Removal } from '../../../src/retention/archive/anchor.js';
import {
  type ArchiveChain,
  ChainReader,
  missingText,
} from '../../../src/retention/archive/complete-chain.js';
import { placeAnchor, removeArchives } from '../../../src/retention/archive/expire.js';
import { listArchives } from '../../../src/retention/archive/list.js';
import { type Manifest, seal } from '../../../src/retention/archive/manifest.js';
import { readManifest } from '../../../src/retention/archive/manifest-chain.js';
import { NOTHING_RECORDED, type RecordedArchives } from '../../../src/retention/recorded-archives.js';
import { run } from '../../commands/cli.js';
import { ArchiveRig, NOW } from './table.js';

const ours = generateKeyPairSync('ed25519').privateKey;
const another = generateKeyPairSync('ed25519').privateKey;

let rig: ArchiveRig;
beforeEach(() => {
  rig = new ArchiveRig();
});
afterEach(() => rig.remove());

/** One archive per key, in consecutive months. */
async function archives(keys: ReadonlyArray<KeyObject | null>): Promise<void> {
  for (const [at, sign] of keys.entries()) {
    rig.insert(`2026-0${at + 1}-01 00:00:00`, '{"a":1}');
    await rig.archive({ sign }, true);
  }
}

const names = () => readdirSync(rig.archives).filter((name) => name.endsWith('.manifest.json'));

function recorded(more: Partial<RecordedArchives> = {}): RecordedArchives {
  const made = names().map((name) => {
    const { manifest, sha256 } = readManifest(rig.archives, name);
    return { sequence: manifest.sequence, sha256 };
  });
  return { ...NOTHING_RECORDED, made, ...more };
}

function read(what: Partial<RecordedArchives> = {}, key: KeyObject | null = null): ArchiveChain {
  return new ChainReader(rig.archives, () => key).read({ ...NOTHING_RECORDED, ...what });
}

function drop(sequence: number): void {
  for (const name of readdirSync(rig.archives))
    if (Number(name.slice(0, 6)) === sequence) rmSync(join(rig.archives, name));
}

describe('the chain of archives for readers', () => {
  it('a chain without a gap is complete without a record', async () => {
    expect(read()).toEqual({ archives: [], missing: [], elsewhere: null, unrecorded: null });
    await archives([null, null, null]);
    expect(read()).toMatchObject({ archives: [{ sequence: 1 }, {}, {}], missing: [], elsewhere: null });
  });

  it('a chain begins after the archives that were removed because of their age', async () => {
    await archives([null, null, null]);
    const before = recorded();
    const sha256 = before.made[1]?.sha256 ?? '';
    removeArchives(rig.archives, { sequence: 2, sha256, time: new Date(NOW).toISOString() }, null);
    expect(read(before)).toMatchObject({ archives: [{ sequence: 3 }], missing: [] });
    const time = new Date(NOW).toISOString();
    const removal: Removal = { directory: rig.archives, sequence: 2, sha256, time, adopted: null };
    const anchor = join(rig.archives, 'anchor.json');
    const right = readFileSync(anchor);
    expect(read({ ...before, removals: [removal] })).toMatchObject({ missing: [], unrecorded: null });
    for (const removals of [[], [{ ...removal, sequence: 1 }]])
      expect(missingText(rig.archives, read({ ...before, removals }))).toMatch(
        /^archives? (1-)?2 (is|are) missing in .*; anchor\.json does not count: .*begins at 3.*is not recorded/,
      );
    expect(() => read({ ...before, removals: [{ ...removal, sha256: 'f'.repeat(64) }] })).toThrow(/000003/);
    rmSync(anchor); // the next run rewrites it
    expect(read({ ...before, removals: [removal] })).toMatchObject({ missing: [], unrecorded: null });
    writeFileSync(anchor, right);
    drop(3);
    expect(read(before).missing).toEqual([{ from: 3, to: 3 }]);
  });

  it('a chain includes archives of a removal that was decided but not carried out', async () => {
    await archives([null, null, null]);
    const { made } = recorded();
    const removal = (sequence: number): Removal => {
      const time = new Date(NOW).toISOString();
      const sha256 = made[sequence - 1]?.sha256 ?? '';
      return { directory: rig.archives, sequence, sha256, time, adopted: null };
    };
    removeArchives(rig.archives, removal(1), null);
    const removals = [removal(1), removal(2)];
    const whole = { archives: [{ sequence: 2 }, { sequence: 3 }], missing: [], unrecorded: null };
    expect(read({ made, removals })).toMatchObject(whole);
    placeAnchor(rig.archives, removal(2), null);
    expect(read({ made, removals })).toMatchObject(whole);
  });

  it('a chain lacks recorded archives and archives of deleted rows that do not exist', async () => {
    await archives([null, null, null]);
    const before = recorded();
    const sha256 = listArchives(rig.archives)[2]?.sha256 ?? '';
    const purged = { sequence: 3, sha256, directory: rig.archives };
    drop(2);
    drop(3);
    expect(read().missing).toEqual([]);
    expect(read(before).missing).toEqual([{ from: 2, to: 3 }]);
    expect(read({ purged, made: [] }).missing).toEqual([{ from: 2, to: 3 }]);
    drop(1);
    expect(read({ purged, made: [] }).missing).toEqual([{ from: 1, to: 3 }]);
    const moved = read({ purged: { ...purged, directory: '/old' }, made: [] });
    expect(missingText(rig.archives, moved)).toMatch(
      /^the archives of rows that were removed.* in \/old, and/,
    );
  });

  it('a moved chain and a chain started here are complete', async () => {
    await archives([null, null]);
    const sha256 = listArchives(rig.archives)[1]?.sha256 ?? '';
    const purged = { sequence: 2, sha256, directory: '/old' };
    expect(read({ purged, made: [] })).toMatchObject({ missing: [], elsewhere: null });
    const old = [1, 2, 3].map((sequence) => ({ sequence, sha256: 'f'.repeat(64) }));
    const now = recorded({ purged: { ...purged, directory: rig.archives } });
    expect(read({ ...now, made: [...old, ...now.made] })).toMatchObject({ missing: [], elsewhere: null });
  });

  it('a different chain in the same directory is rejected', async () => {
    await archives([null]);
    const purged = { sequence: 1, sha256: 'f'.repeat(64), directory: rig.archives };
    expect(() => read({ purged, made: [] })).toThrow(/it is not the one whose rows were removed/);
    expect(() => read({ purged: null, made: [{ sequence: 1, sha256: 'f'.repeat(64) }] })).toThrow(
      /it differs from the one that was recorded/,
    );
  });

  it('resealed archives without a record are rejected', async () => {
    await archives([null, null]);
    const [name = ''] = names();
    const at = join(rig.archives, name);
    const { signature: _, sha256: __, ...body } = JSON.parse(readFileSync(at, 'utf8')) as Manifest;
    writeFileSync(at, seal<Manifest>({ ...body, run: 'forged' }, null).text);
    expect(() => read()).toThrow(/000002.*it does not link to the archive before it/);
  });

  it.each<[string, ReadonlyArray<KeyObject | null>, boolean, RegExp | null]>([
    ['signed all', [ours, ours], false, null],
    ['from before the key, which a signed one stands behind', [null, another, ours], false, null],
    ['none of which is signed', [null, null], false, /000001.*it is not signed with the key/],
    ['none of which is signed, and that were recorded', [null, null], true, null],
    ['the last of which is not signed', [ours, null], false, /000002.*it is not signed with the key/],
    ['the last of which somebody else has signed', [ours, another], false, /000002.*it is not signed/],
  ])('a chain with a configured key: %s', async (_, keys, isRecorded, words) => {
    await archives(keys);
    const what = isRecorded ? recorded() : { purged: null, made: [] };
    if (words === null) expect(read(what, ours).archives).toHaveLength(keys.length);
    else expect(() => read(what, ours)).toThrow(words);
  });

  it('signatures do not vouch for archives across a gap', async () => {
    await archives([null, null, ours]);
    drop(2);
    expect(() => read(undefined, ours)).toThrow(/000001.*it is not signed/);
  });
});

describe('archive verify', () => {
  it('archive verify checks signatures with the configured key', async () => {
    await archives([null, null]);
    const key = join(rig.directory, 'archive.key');
    writeFileSync(key, ours.export({ type: 'pkcs8', format: 'pem' }));
    const config = join(rig.directory, 'config.yml');
    const yaml = `state: ${rig.directory}/state\nretention: { archive: { directory: ${rig.archives}, sign: ${key} } }\n`;
    writeFileSync(config, yaml);
    const verify = () => run(['archive', 'verify', '--config', config]);
    expect(verify()).toMatchObject({
      code: 1,
      out: expect.stringMatching(
        /^BROKEN: 000001.*it is not signed with the key.*never recorded\. Put it back/m,
      ) as string,
    });
    rig.insert('2026-03-01 00:00:00');
    await rig.archive({ sign: ours });
    expect(verify()).toMatchObject({
      code: 0,
      out: expect.stringMatching(/3 archives, 3 rows: nothing/) as string,
    });
    rig.insert('2026-04-01 00:00:00');
    await rig.archive();
    expect(verify()).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^BROKEN: 000004.*recorded; the 3 archives before it are valid/m) as string,
    });
    rmSync(key);
    expect(verify().out).toMatch(/note: The key .*archive\.key can't be used.*No signature was checked/);
  });

  it('archive verify of a directory alone names what was not compared', async () => {
    await archives([ours]);
    const verify = (...more: string[]) =>
      run(['archive', 'verify', '--directory', rig.archives, ...more]).out;
    const [, head = ''] = /^head (.+)$/m.exec(verify()) ?? [];
    expect(verify()).toMatch(/^note: no signature .*--key FILE.* the end .*--head TEXT/m);
    const key = join(rig.directory, 'audit.pub');
    writeFileSync(key, createPublicKey(ours).export({ type: 'spki', format: 'pem' }));
    expect(verify('--head', head, '--key', key)).not.toMatch(/note: (no|the end) /);
  });

  it('archive verify counts a row in two archives once, and reports it', async () => {
    rig.insert('2026-01-01 00:00:00');
    rig.insert('2026-01-02 00:00:00');
    await rig.archive();
    rig.insert('2026-01-03 00:00:00');
    await rig.archive();
    const { code, out } = run(['archive', 'verify', '--directory', rig.archives]);
    expect({ code, out }).toMatchObject({
      code: 0,
      out: expect.stringContaining('2 archives, 5 rows, 3 of them distinct:'),
    });
    expect(readFileSync(join(rig.archives, names()[0] ?? ''), 'utf8')).toContain('"count": 2');
  });
});
