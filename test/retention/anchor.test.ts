import { generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Removal } from '../../src/retention/archive/anchor.js';
import { listArchives } from '../../src/retention/archive/list.js';
import { type Anchor, seal } from '../../src/retention/archive/manifest.js';
import { verifyArchives } from '../../src/retention/archive/verify.js';
import { adoptAnchor } from '../../src/retention/settle-chain-begin.js';
import { DAY, RetentionRig, sqlTime } from './retention-fixture.js';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const MADE = 5;

let rig: RetentionRig;
let anchor: string;

function keeping(keep: string): string {
  return `keep: { default: 1y }, archive: { directory: ${rig.archive}, keep: ${keep} }`;
}

/** Forges an anchor as somebody with write access to the directory and without the key. */
function forge(sequence: number, previous = '0'.repeat(64)): void {
  const created = new Date(rig.clock).toISOString();
  const body = { schema_version: 1, sequence, previous_sha256: previous, created };
  writeFileSync(anchor, seal<Anchor>(body, null).text);
}

function sequences(): number[] {
  return listArchives(rig.archive).map(({ sequence }) => sequence);
}

function verified(key: typeof publicKey | null = null): string {
  const { broken, notes } = verifyArchives(rig.archive, { key, known: [], removals: rig.removals });
  return broken === null ? notes.join() : `${broken.name}: ${broken.what}`;
}

beforeEach(async () => {
  rig = new RetentionRig();
  anchor = join(rig.archive, 'anchor.json');
  // One archive per month.
  rig.insert(
    Array.from({ length: MADE }, (_, at) => ({ created: sqlTime(rig.clock - (600 - at * 31) * DAY) })),
  );
  rig.insert([{ created: sqlTime(rig.clock) }]);
  await rig.run(keeping('forever'));
  expect(sequences()).toEqual([1, 2, 3, 4, 5]);
});
afterEach(() => rig.close());

describe('an anchor without a record', () => {
  it.each([
    [1_000, 'forever'],
    [1_000, '7y'],
    [MADE, '7y'],
    [2, '7y'],
  ])(
    'an unrecorded anchor of archive %d removes none with keep: %s, and retention continues',
    async (sequence, keep) => {
      const files = readdirSync(rig.archive);
      const { head } = verifyArchives(rig.archive, { key: null, known: [] });
      forge(sequence);
      expect(verified()).toMatch(/^anchor\.json: it says that archives up to \d+ were removed, and 000001-/);
      // The end of the chain, recorded elsewhere (--head), does not prove it either.
      expect(verifyArchives(rig.archive, { key: null, known: [head] }).broken?.name).toBe('anchor.json');
      rig.insert([{ created: sqlTime(rig.clock - 400 * DAY) }, { created: sqlTime(rig.clock) }]);
      await rig.run(keeping(keep));
      expect(readdirSync(rig.archive)).toEqual(expect.arrayContaining(files));
      expect(rig.refused).toEqual([expect.stringContaining('is not recorded')]);
      rmSync(anchor);
      expect(sequences()).toEqual([1, 2, 3, 4, 5, 6]);
      expect(verified()).toBe('');
    },
  );

  it('an outdated anchor is rewritten from the record, and signed once there is a key', async () => {
    rig.expire = () => 2;
    await rig.run(keeping('7y'));
    expect(sequences()).toEqual([1, 2, 3, 4, 5]); // not old enough
    rig.clock += 8 * 365 * DAY;
    rig.insert([{ created: sqlTime(rig.clock) }]);
    await rig.run(keeping('7y'));
    expect(sequences().slice(0, 3)).toEqual([3, 4, 5]);
    rig.expire = () => 0;
    const right = readFileSync(anchor, 'utf8');
    for (const damage of [() => forge(4), () => rmSync(anchor), () => writeFileSync(anchor, '{}')]) {
      damage();
      await rig.run(keeping('7y'));
      expect(readFileSync(anchor, 'utf8')).toBe(right);
      expect(sequences().slice(0, 3)).toEqual([3, 4, 5]);
    }
    expect(verified()).toMatch(
      /^the chain begins at 3; the first 2 were removed on \d{4}-\d\d-\d\d, recorded$/,
    );
    await rig.run(keeping('7y'), { sign: privateKey });
    expect((JSON.parse(readFileSync(anchor, 'utf8')) as Anchor).signature).not.toBeNull();
  });

  it('an unrecorded anchor is adopted once with a new state.db if it removes nothing, and later only by command', async () => {
    rig.expire = () => 2;
    rig.clock += 8 * 365 * DAY;
    rig.insert([{ created: sqlTime(rig.clock) }]);
    await rig.run(keeping('7y'), { sign: privateKey });
    rig.expire = () => 0;
    const made = rig.removals.at(-1) as Removal;
    const sixth = sequences().includes(6);
    rig.removals = []; // state.db is lost
    forge(2, made.sha256 ?? ''); // as before a key was set
    await rig.run(keeping('7y'), { sign: privateKey });
    expect(rig.removals).toMatchObject([{ sequence: 2, adopted: 'upgrade' }]);
    expect(rig.refused).toEqual([]);
    expect(verified()).toMatch(/^the chain begins at 3; .*, not recorded: the anchor was adopted on/);
    expect((JSON.parse(readFileSync(anchor, 'utf8')) as Anchor).signature).not.toBeNull();
    expect(sequences().includes(6)).toBe(sixth);

    // Somebody removes an archive and writes a matching anchor.
    const { previous_sha256: next } = listArchives(rig.archive)[1] ?? {};
    for (const name of readdirSync(rig.archive))
      if (name.startsWith('000003-')) rmSync(join(rig.archive, name));
    forge(3, next ?? '');
    expect(verified()).toMatch(/^anchor\.json: .*is not recorded.*archive adopt records that/);
    const options = {
      directory: rig.archive,
      removals: rig.removals,
      purged: rig.purged,
      clock: () => rig.clock,
    };
    expect(adoptAnchor({ ...options, sign: privateKey })).toMatchObject({ sequence: 3, adopted: 'command' });
    forge(5);
    expect(() => adoptAnchor({ ...options, sign: null })).toThrow(
      /can't be adopted: it says that archives up to 5 were removed, and 000004-/,
    );
    await rig.run(keeping('7y'));
    expect(rig.refused).toEqual([expect.stringContaining('is not recorded')]);
    expect(sequences().slice(0, 2)).toEqual([4, 5]);
  });
});

describe('an upgrade', () => {
  it('an upgrade continues after the anchor if every archive had expired', async () => {
    rig.clock += 8 * 365 * DAY;
    await rig.run(keeping('7y'));
    expect(sequences()).toEqual([]);
    rig.removals = []; // the previous version recorded none
    rig.insert([{ created: sqlTime(rig.clock - 400 * DAY) }, { created: sqlTime(rig.clock) }]);
    await rig.run(keeping('7y'));
    expect(rig.removals).toMatchObject([{ sequence: MADE, adopted: 'upgrade' }]);
    expect(sequences()[0]).toBe(MADE + 1);
    expect(verified()).toContain('the chain begins at 6; ');
  });
});

describe('an interrupted removal of archives', () => {
  it('an interrupted removal is finished by the next run, unless archives are now kept for ever', async () => {
    const third = verifyArchives(rig.archive, { key: null, known: [] }).head;
    expect(third.sequence).toBe(MADE);
    rig.clock += 8 * 365 * DAY;
    rig.insert([{ created: sqlTime(rig.clock) }]);
    // The process crashes after recording the decision.
    const before = readdirSync(rig.archive);
    const keep = new Map(before.map((name) => [name, readFileSync(join(rig.archive, name))]));
    rig.expire = () => 2;
    await rig.run(keeping('7y'));
    for (const [name, bytes] of keep) writeFileSync(join(rig.archive, name), bytes);
    rig.expire = () => 0;
    await rig.run(keeping('forever'));
    expect(sequences().slice(0, 3)).toEqual([1, 2, 3]);
    await rig.run(keeping('7y'));
    expect(sequences().slice(0, 3)).toEqual([3, 4, 5]);
    expect(verified()).toContain(', recorded');
  });

  it('an interrupted removal skips a manifest that was rewritten', async () => {
    const [first] = listArchives(rig.archive);
    if (first === undefined) throw new Error('no archive');
    const { sha256: _, signature: __, ...body } = first;
    const name = readdirSync(rig.archive).find((one) => /^000001-.*manifest/.test(one)) ?? '';
    writeFileSync(
      join(rig.archive, name),
      seal({ ...body, created: '2001-01-01T00:00:00.000Z', time: null }, null).text,
    );
    const { expired } = await rig.run(keeping('1d'));
    expect(expired).toBe(0);
    expect(sequences()).toContain(1);
  });
});
