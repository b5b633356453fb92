import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import {
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { messageOf } from '../../src/errors.js';
import { EVERYTHING, type Filter } from '../../src/query/filter.js';
import { createMatcher } from '../../src/query/scan/matcher.js';
import { contentsOf, holdName } from '../../src/retention/archive/archive-files.js';
import { sealRecord } from '../../src/retention/archive/legal-hold-records.js';
import { type Sealed, seal } from '../../src/retention/archive/manifest.js';
import { TableRows } from '../../src/retention/archive/table-rows.js';
import { verifyArchives } from '../../src/retention/archive/verify.js';
import { deleteOwn } from '../../src/retention/auditd-table.js';
import { LegalHolds, LegalWatch, legalRowOf, readLegalHolds } from '../../src/retention/legal-holds.js';
import { openPurger } from '../../src/retention/purge/client.js';
import { Deleter } from '../../src/retention/purge/deleter.js';
import type { Piece } from '../../src/retention/purge/protocol.js';
import { rowHash } from '../../src/retention/purge/row-hash.js';
import { servePurge } from '../../src/retention/purge/server.js';
import { RowReader } from '../../src/source/row-to-event.js';
import { AUDITD_TABLE } from '../../src/source/table-schema.js';
import { compiled, removeCompiled } from '../support/compiled.js';
import { LegalRig } from './legal-hold-fixture.js';
import { DAY, NOW, SOURCE_ID, sqlTime } from './retention-fixture.js';

const CHILD = pathToFileURL(resolve(import.meta.dirname, '../../dist/retention/purge/process.js'));
const ANN = { user: 'ann@example.net' };

let rig: LegalRig;
beforeEach(() => {
  rig = new LegalRig();
  const now = Date.now();
  const old = sqlTime(now - 500 * DAY);
  rig.insertHeld([
    { created: old, user: [7, 'ann', 'ann@example.net'], resource: '1' },
    { created: old, user: [8, 'bob', 'bob@example.net'], resource: '12' },
    { created: sqlTime(now - 700 * DAY), user: [7, 'ann', 'ann@example.net'], type: 'user' },
    { created: sqlTime(now - 700 * DAY), user: [9, 'eve', null], type: 'proxy-host', resource: '12' },
    { created: sqlTime(now), user: [9, 'eve', null] },
  ]);
});
afterEach(() => rig.end());

const file = (number = 1) => join(rig.archive, holdName(number));

/** The purge's answers in a separate session. */
async function ask(line: object): Promise<unknown[]> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  input.end(`${JSON.stringify(line)}\n`);
  await servePurge(input, output, { configPath: join(rig.directory, 'config.yml'), env: {} });
  output.end();
  return (await output.toArray()).map((text) => JSON.parse(String(text)) as unknown);
}

describe('a legal hold', () => {
  it.each<[string, Record<string, string>, number[]]>([
    ['of a user by e-mail address', ANN, [1, 3, 5]],
    ['of a user by id', { user: '8' }, [2, 5]],
    ['of a kind of resource, by the name of what it means', { resource_type: 'proxy_host' }, [1, 2, 4, 5]],
    ['of one resource', { resource_type: 'proxy_host', resource_id: '12' }, [2, 4, 5]],
    ['of a time', { to: new Date(Date.now() - 600 * DAY).toISOString() }, [3, 4, 5]],
    ['of a user and a time', { ...ANN, from: new Date(Date.now() - 600 * DAY).toISOString() }, [1, 5]],
    ['of everything', {}, [1, 2, 3, 4, 5]],
  ])(
    '%s keeps rows whatever ages and caps say, unarchived, until it is released',
    async (_, filter, stay) => {
      rig.start();
      const id = rig.hold(filter);
      const { targets } = await rig.quick(', max_rows: 1');
      expect(targets[0]?.plan.staying.legal_hold).toBe(stay.length - 1);
      expect(rig.ids()).toEqual(stay);
      expect(new Set(rig.archivedIds())).toEqual(new Set([1, 2, 3, 4].filter((one) => !stay.includes(one))));
      rig.release(id);
      await rig.quick();
      expect(rig.ids()).toEqual([5]);
      expect(new Set(rig.archivedIds())).toEqual(new Set([1, 2, 3, 4]));
    },
  );

  it('a legal hold applies in the thread of a run and in the purge process', async () => {
    rig.start({ more: ', max_rows: 1' });
    rig.hold(ANN);
    expect(await rig.now('dry')).toBeNull();
    expect(rig.retention?.status().run?.dry?.[0]?.staying.legal_hold).toBe(2);
    expect(await rig.now()).toBeNull();
    expect(rig.ids()).toEqual([1, 3, 5]);
    rmSync(file());
    expect(await rig.now()).toMatch(/900000000001-hold.*recorded in state\.db, and missing/);
    expect(rig.entries.at(-1)).toMatchObject({ action: 'daemon.purge_postponed' });
    expect(rig.ids()).toEqual([1, 3, 5]);
  });

  it('a legal hold and its release are recorded with the claimed author, the covered rows and the reason', () => {
    const { legal } = rig.start();
    expect(() => legal.hold({ filter: {}, reason: 'x' }, null)).toThrow(/--all/);
    expect(() => legal.hold({ filter: { user: 'ann' }, reason: '' }, null)).toThrow(/reason/);
    expect(() => legal.hold({ filter: { ip: '192.0.2.1' }, reason: 'x' }, null)).toThrow(/ip/);
    rig.hold(ANN);
    rig.hold({ user: 'bob' });
    rig.release(1);
    expect(() => rig.release(1)).toThrow(expect.objectContaining({ code: 'CONFLICT' }));
    expect(() => rig.release(9)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    expect(() => rig.release(3)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' })); // it is a release
    const facts = {
      by: { kind: 'command', name: 'ann', claimed: true },
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    };
    expect(rig.actions('daemon.legal_')).toMatchObject([
      {
        action: 'daemon.legal_hold_create',
        resourceId: 1,
        details: { hold: 1, filter: ANN, reason: 'case 4711', ...facts },
      },
      { action: 'daemon.legal_hold_create', resourceId: 2, details: { hold: 2, filter: { user: 'bob' } } },
      {
        action: 'daemon.legal_hold_release',
        resourceId: 1,
        details: { hold: 1, reason: 'closed', ...facts },
      },
    ]);
    expect(legal.status()).toMatchObject({ in_force: [{ id: 2, reason: 'case 4711' }], trouble: null });
  });

  it("a legal hold covers the daemon's own events, too", async () => {
    const add = rig.state.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type, user_name) VALUES (?, 'export', 'daemon', ?)",
    );
    for (const name of ['ann', 'bob']) add.run(sqlTime(Date.now() - 500 * DAY), name);
    add.run(sqlTime(Date.now()), 'ann');
    rig.start();
    rig.hold({ user: 'ann' });
    expect(await rig.now()).toBeNull();
    const left = rig.state.db.prepare(
      'SELECT user_name FROM audit_log WHERE user_name IS NOT NULL ORDER BY id',
    );
    expect(left.pluck().all()).toEqual(['ann', 'ann']);
    expect(rig.archivedIds('auditd')).toHaveLength(1);
    // The same if the hold is made after the archive.
    const rows = new TableRows(rig.state.db, AUDITD_TABLE, { identify: () => ({ id: '', length: 0 }) }).after(
      0,
      99,
      99,
    );
    const named = rows.map((row) => [row.id, rowHash(row)] as const);
    const holds = readLegalHolds(rig.archive, rig.retention?.legal.recorded() ?? []);
    expect(deleteOwn(rig.state.db, named, holds)).toMatchObject({ deleted: 0, legal_hold: 2 });
  });
});

describe('the rows that a hold covers', () => {
  it('a legal hold covers at least the rows of a query with the same filter, for values of any type', () => {
    const values = [
      7,
      7.5,
      '7',
      'ann',
      'Ann',
      Buffer.from('ann'),
      Buffer.from([255]),
      null,
      '',
      9007199254740993n,
    ];
    const times = ['2026-01-02 03:04:05', '2026-01-02T03:04:05+02:00', 1767323045, 'no time', null, ''];
    rig.insertHeld(
      values.flatMap((value, at) =>
        times.map((created) => ({
          created: created ?? '',
          user: [value, null, values[at - 1] ?? null],
          type: value,
          resource: value,
        })),
      ),
    );
    const { source } = rig.config('max_rows: null');
    const reader = new RowReader({
      name: 'postern',
      sourceId: SOURCE_ID,
      server: 's',
      classify: createClassifier(),
      redact: () => null,
    });
    const rows = new TableRows(rig.db, source, reader).after(0, 1_000, 1_000);
    const place = { timeline: 1, ingested: 0, defaults: [], bytesOf: () => null };
    const iso = '2026-01-02T02:00:00.000Z';
    const filters: ReadonlyArray<[Partial<Filter>, Record<string, string>]> = [
      ...['7', '7.5', 'ann', '0xff', '9007199254740993'].flatMap(
        (user): Array<[Partial<Filter>, Record<string, string>]> => [
          [{ user }, { user }],
          [
            { user, from: Date.parse(iso) },
            { user, from: iso },
          ],
          [{ resourceType: user }, { resource_type: user }],
        ],
      ),
      [{ to: Date.parse(iso) }, { to: iso }],
      [{ resourceType: 'proxy_host' }, { resource_type: 'proxy_host' }],
    ];
    for (const [part, filter] of filters) {
      const matches = createMatcher({ ...EVERYTHING, ...part });
      const held = holdsOf(filter);
      const found = rows.filter((row) => matches(reader.event(row.known, row.eventId, place)));
      const covered = rows.filter((row) => held.covers(legalRowOf(row.known, row.time)));
      expect(found.length, JSON.stringify(filter)).toBeGreaterThan(0);
      expect(covered).toEqual(expect.arrayContaining(found));
      const more = covered.filter((row) => !found.includes(row));
      expect(
        more.every(({ time }) => time === null),
        JSON.stringify(filter),
      ).toBe(true);
    }
  });

  it('a legal hold with a time span covers rows with an unreadable time, too', () => {
    const { source } = rig.config('max_rows: null');
    rig.insertHeld([{ created: 'no time', user: [1, 'ann', null] }]);
    const [row] = new TableRows(rig.db, source, { identify: () => ({ id: '', length: 0 }) }).byIds([6]);
    const covers = (filter: Record<string, string>) =>
      holdsOf(filter).covers(legalRowOf(row?.known ?? [], row?.time ?? null));
    expect(covers({ from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' })).toBe(true);
    expect(covers({ user: 'bob', from: '2026-01-01T00:00:00Z' })).toBe(false);
  });

  function holdsOf(filter: Record<string, string>): LegalHolds {
    const { record, text } = sealRecord(
      {
        kind: 'legal_hold',
        filter,
        number: 1,
        reason: 'x',
        by: null,
        created: sqlTime(NOW),
        previous_sha256: null,
      },
      null,
    );
    return new LegalHolds([{ name: holdName(1), record, sha256: '', text }], []);
  }
});

describe('a hold record', () => {
  const forged = (change: (fields: Record<string, unknown>) => Record<string, unknown>) => () => {
    const {
      signature: _,
      sha256: _hash,
      ...fields
    } = JSON.parse(readFileSync(file(), 'utf8')) as Record<string, unknown>;
    writeFileSync(file(), seal<Sealed>(change(fields), null).text);
  };
  const replaced = (make: (path: string) => void) => () => {
    renameSync(file(), `${file()}.aside`);
    make(file());
  };

  it.each<[string, () => void, RegExp]>([
    ['removed', () => rmSync(file(2)), /it is recorded in state\.db, and missing/],
    ['removed, with a later one present', () => rmSync(file()), /it is missing, and later records exist/],
    [
      'edited',
      () => writeFileSync(file(), readFileSync(file(), 'utf8').replace('ann@', 'bob@')),
      /its text was changed/,
    ],
    [
      'edited and resealed',
      forged((fields) => ({ ...fields, filter: { user: 'nobody' } })),
      /does not link to the record before it/,
    ],
    [
      'resealed as a release',
      forged(({ filter: _, ...fields }) => ({ ...fields, kind: 'legal_release', releases: 1 })),
      /does not release an earlier hold/,
    ],
    [
      'of a later version',
      forged((fields) => ({ ...fields, schema_version: 3 })),
      /schema version 3, this program knows 2/,
    ],
    [
      'with a filter unknown to this version',
      forged((fields) => ({ ...fields, filter: { ...ANN, ip: '192.0.2.1' } })),
      /is not a valid record of a legal hold/,
    ],
    ['empty', () => truncateSync(file()), /its text was changed/],
    ['too large', () => truncateSync(file(), 100_000_000), /larger/],
    ['replaced by a link', replaced((path) => symlinkSync(`${path}.aside`, path)), /it is a link/],
    ['a pipe', replaced((path) => execFileSync('mkfifo', [path])), /it is not a regular file/],
    ['a directory', replaced((path) => mkdirSync(path)), /it is not a regular file/],
  ])(
    'a hold record (%s) stops every deletion, with an error that names it and the next step',
    async (_, change, words) => {
      rig.start();
      rig.hold(ANN);
      rig.hold({ user: 'bob' });
      const whole = [file(), file(2)].map((path) => readFileSync(path));
      change();
      const error = await rig.quick().catch(messageOf);
      expect(error).toMatch(/\/900000000(001|002)-hold-t0-undated\.manifest\.json: /);
      expect(error).toMatch(words);
      expect(rig.ids()).toEqual([1, 2, 3, 4, 5]);
      expect(rig.retention?.status().legal_holds.trouble).toMatch(words);
      // The purge detects that itself.
      const [answer] = await ask({ probe: true, holds: rig.retention?.legal.recorded() });
      expect(answer).toMatchObject({ error: expect.stringMatching(words) as string });
      for (const [at, path] of [file(), file(2)].entries()) {
        rmSync(path, { recursive: true, force: true });
        writeFileSync(path, whole[at] ?? '');
      }
      await rig.quick();
      expect(rig.ids()).toEqual([1, 2, 3, 5]);
    },
  );

  it('a resealed hold record is detected by the next record, even without state.db', () => {
    rig.start();
    rig.hold(ANN);
    rig.hold({ user: 'bob' });
    forged((fields) => ({ ...fields, filter: { user: 'nobody' } }))();
    expect(() => readLegalHolds(rig.archive, [])).toThrow(
      /900000000002-hold.*does not link to the record before it/,
    );
  });

  it('a missing hold record is restored from state.db, even in another directory', async () => {
    rig.start();
    rig.hold(ANN);
    rmSync(file());
    expect(rig.retention?.legal.putBack()).toEqual([holdName(1)]);
    expect(rig.retention?.legal.putBack()).toEqual([]);
    await rig.quick();
    expect(rig.ids()).toEqual([1, 3, 5]);
  });

  it('a release that is not in state.db releases nothing, whoever wrote it', async () => {
    rig.start();
    rig.hold(ANN);
    const previous_sha256 = readLegalHolds(rig.archive, []).head;
    const body = {
      kind: 'legal_release',
      releases: 1,
      number: 2,
      reason: 'x',
      by: 'ann',
      created: sqlTime(NOW),
      previous_sha256,
    } as const;
    writeFileSync(file(2), sealRecord(body, null).text);
    await rig.quick();
    expect(rig.ids()).toEqual([1, 3, 5]);
    expect(rig.retention?.status().legal_holds).toMatchObject({
      in_force: [{ id: 1 }],
      trouble: expect.stringMatching(/retain release 1$/) as string,
    });
    rig.release(1);
    await rig.quick();
    expect(rig.ids()).toEqual([5]);
    expect(rig.retention?.status().legal_holds).toEqual({ in_force: [], trouble: null, problem: null });
  });

  it('after the loss of state.db, holds are adopted again and releases must be repeated', async () => {
    rig.start();
    rig.hold(ANN);
    rig.hold({ user: 'bob' });
    rig.release(2);
    await rig.loseState();
    rig.start();
    expect(await rig.now()).toBeNull();
    expect(rig.ids()).toEqual([1, 2, 3, 5]);
    expect(rig.actions('daemon.legal_hold_create').slice(2)).toMatchObject(
      [1, 2].map((hold) => ({ details: { hold, adopted: true } })),
    );
    rig.release(2);
    await rig.quick();
    expect(rig.ids()).toEqual([1, 3, 5]);
  });

  it('a release that does not count is restored, too, with the records after it', async () => {
    rig.start();
    rig.hold(ANN);
    rig.release(1);
    await rig.loseState();
    rig.start();
    rig.release(1);
    const count = contentsOf(rig.archive).holds.size;
    for (let number = 1; number <= count; number++) rmSync(file(number));
    rig.retention?.legal.putBack();
    expect(contentsOf(rig.archive).holds.size).toBe(3);
    expect(rig.retention?.legal.list()).toEqual({ in_force: [], trouble: null, problem: null });
  });

  it('a missing hold record is detected by later archives, even without state.db', async () => {
    rig.start();
    rig.hold(ANN);
    await rig.quick();
    rmSync(file());
    await rig.loseState();
    rig.start();
    expect(await rig.quick().catch(messageOf)).toMatch(
      /900000000001-hold.*was created with a record of legal holds that is missing/,
    );
    expect(rig.ids()).toEqual([1, 3, 5]);
    expect(verifyArchives(rig.archive, { key: null, known: [] }).broken?.name).toBe(holdName(1));
  });

  it('hold records are signed if archives are, and verify rejects forged and unsigned ones', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const path = join(rig.directory, 'key.pem');
    writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    rig.start({ sign: path });
    rig.hold(ANN);
    await rig.quick('', { sign: privateKey });
    const verify = (
      more: { legal?: ReturnType<NonNullable<typeof rig.retention>['legal']['recorded']> } = {},
    ) => verifyArchives(rig.archive, { key: null, sign: privateKey, known: [], ...more }).broken;
    expect(verifyArchives(rig.archive, { key: publicKey, known: [] })).toMatchObject({
      broken: null,
      notes: [expect.stringMatching(/1 made, 0 released/) as string],
    });
    expect(verify({ legal: rig.retention?.legal.recorded() ?? [] })).toBeNull();
    const previous_sha256 = readLegalHolds(rig.archive, []).head;
    const body = {
      kind: 'legal_hold',
      filter: {},
      number: 2,
      reason: 'x',
      by: 'ann',
      created: sqlTime(NOW),
      previous_sha256,
    } as const;
    writeFileSync(file(2), sealRecord(body, null).text);
    expect(verify()).toEqual({ name: holdName(2), what: expect.stringMatching(/not signed/) as string });
    writeFileSync(file(2), sealRecord(body, generateKeyPairSync('ed25519').privateKey).text);
    expect(verifyArchives(rig.archive, { key: publicKey, known: [] }).broken?.name).toBe(holdName(2));
  });

  it('the name and version of a hold record stop a release without legal holds before it does anything', () => {
    rig.start();
    rig.hold(ANN);
    // As in src/retention/archive/archive-files.ts before legal holds: the newest of these is read first, and must be of version 1.
    const manifest =
      /^(\d{6,12})-[a-z]+-t\d+-(?:\d{4,6}-\d\d|undated)\.(?:manifest\.json|ndjson(?:\.gz|\.zst)?)$/;
    const [, number] = manifest.exec(holdName(1)) ?? [];
    expect(Number(number)).toBeGreaterThan(899_999_999_999);
    expect(Number(number)).toBeLessThanOrEqual(999_999_999_999);
    expect(JSON.parse(readFileSync(file(), 'utf8'))).toMatchObject({ schema_version: 2 });
    expect(contentsOf(rig.archive)).toMatchObject({ others: [], manifests: new Map() });
  });
});

describe('the purge', () => {
  /** An archive of all old rows, made before any hold. */
  async function archived(): Promise<Piece> {
    const manifests: Piece[] = [];
    const purger = (usual: ReturnType<LegalRig['purger']>) => ({
      ...usual,
      purge: async (piece: Piece) => {
        manifests.push(piece);
        throw new Error('the daemon died');
      },
    });
    rig.clock = Date.now();
    await expect(rig.run('keep: { default: 550d }', { purger })).rejects.toThrow('died');
    return manifests[0] as Piece;
  }

  it('the purge reads holds itself: it keeps held rows, and rejects a missing record and a daemon that names none', async () => {
    const piece = await archived();
    rig.start();
    rig.hold(ANN);
    const holds = rig.retention?.legal.recorded() ?? [];
    // A daemon of an earlier version, and a compromised one.
    expect(await ask({ piece })).toMatchObject([
      {
        error: expect.stringMatching(/does not know the request/) as string,
      },
    ]);
    expect(await ask({ archived: piece })).toMatchObject([
      {
        error: expect.stringMatching(/does not know the request/) as string,
      },
    ]);
    const other = { number: 2, sha256: '0'.repeat(64) };
    expect(await ask({ archived: piece, holds: [...holds, other] })).toMatchObject([
      {
        error: expect.stringMatching(/900000000002.*missing/) as string,
      },
    ]);
    expect(rig.ids()).toHaveLength(5);
    const purger = await openPurger({ configPath: join(rig.directory, 'config.yml'), env: {}, child: CHILD });
    expect(await purger.purge(piece, [])).toMatchObject({ deleted: 1, legal_hold: 1 });
    purger.close();
    expect(rig.ids()).toEqual([1, 2, 3, 5]);
  });

  it('a hold made between plan and deletion, or before the commit, keeps its rows; the next run continues', async () => {
    rig.start();
    const purger = (usual: ReturnType<LegalRig['purger']>) => ({
      ...usual,
      purge: (piece: Piece) => {
        if (contentsOf(rig.archive).holds.size === 0) rig.hold(ANN);
        return usual.purge(piece, []);
      },
    });
    rig.clock = Date.now();
    await rig.run('keep: { default: 550d }', { purger });
    expect(rig.archivedIds()).toEqual([3, 4]);
    expect(rig.ids()).toEqual([1, 2, 3, 5]);
    for (const _ of [1, 2]) await rig.quick();
    expect(rig.archivedIds()).toEqual([3, 4, 2]); // held rows are archived once, and no run is stuck on them
    expect(rig.ids()).toEqual([1, 3, 5]);

    const config = rig.config('keep: { default: 1y }');
    const rows = new TableRows(rig.db, config.source, { identify: () => ({ id: '', length: 0 }) }).byIds([
      1, 3,
    ]);
    rig.release(1);
    const watch = new LegalWatch(rig.archive, rig.retention?.legal.recorded() ?? []);
    const legal = {
      get current() {
        return watch.current;
      },
      isChanged: () => {
        if (contentsOf(rig.archive).holds.size === 2) rig.hold({ ...ANN, resource_type: 'user' });
        return watch.isChanged();
      },
    } as LegalWatch;
    const deleter = new Deleter({ config, clock: Date.now });
    const below = Number.MAX_SAFE_INTEGER;
    expect(await deleter.delete(rows, { below, file: null, legal })).toMatchObject({
      deleted: 1,
      legal_hold: 1,
    });
    expect(rig.ids()).toEqual([3, 5]);
  });
});

describe('an archive with a held row', () => {
  const HOUR = 3_600_000;

  it('an archive with a held row and later ones stay, earlier ones are removed, and all of them after the release', async () => {
    rig.insertHeld([{ created: sqlTime(Date.now() - 600 * DAY), user: [8, 'bob', null] }]);
    rig.insertHeld([{ created: sqlTime(Date.now()), user: [9, 'eve', null] }]);
    rig.start();
    await rig.quick();
    expect(rig.archivedIds()).toEqual([3, 4, 6, 1, 2]);
    rig.hold({ user: 'bob' });
    rig.clock += DAY;
    const keep = `, archive: { directory: ${rig.archive}, keep: 1h }`;
    await rig.quick(keep);
    await rig.quick(keep);
    expect(rig.archivedIds()).toEqual([6, 1, 2]);
    rig.release(1);
    await rig.quick(keep);
    expect(rig.archivedIds()).toEqual([]);
  });

  it('an archive stays if the hold is made during the decision to remove it', async () => {
    rig.start({ keep: '1h' });
    expect(await rig.now()).toBeNull();
    for (const hours of [2, 25]) {
      rig.ahead += hours * HOUR;
      rig.whileDeciding = hours === 25 ? () => rig.hold({ user: 'bob' }) : () => undefined;
      expect(await rig.now()).toBeNull();
    }
    expect(rig.actions('daemon.archive_expire')).not.toEqual([]);
    expect(rig.actions('daemon.archive_delete')).toEqual([]);
    expect(rig.archivedIds()).toEqual([3, 4, 1, 2]);
  });

  it('an archive stays if the hold follows the decision to remove it, and if its columns had other names', async () => {
    rig.clock = Date.now();
    await rig.run('keep: { default: 1y }');
    expect(rig.archivedIds()).toEqual([3, 4, 1, 2]);
    rig.start();
    rig.clock += DAY;
    const keep = `keep: { default: 1y }, archive: { directory: ${rig.archive}, keep: 1h }`;
    rig.expire = (expired) => {
      if (contentsOf(rig.archive).holds.size === 0) rig.hold({ user: 'bob@example.net' });
      return expired.at(-1)?.sequence ?? 0;
    };
    await rig.run(keep);
    expect(contentsOf(rig.archive).files.size).toBe(2);
    await rig.run(keep); // an interrupted removal is not finished either
    expect(contentsOf(rig.archive).files.size).toBe(2);
    rig.insertHeld([
      { created: sqlTime(Date.now() - 500 * DAY), user: [9, 'eve', null] },
      { created: sqlTime(Date.now()), user: [9, 'eve', null] },
    ]);
    rig.legal = rig.retention?.legal.recorded() ?? [];
    await rig.run(keep);
    rig.clock += DAY;
    await rig.run(keep); // nor by the removal of later archives
    expect(rig.archivedIds()).toEqual([3, 4, 1, 2, 6]);
    const verify = () =>
      verifyArchives(rig.archive, { key: null, known: [], removals: rig.removals, legal: rig.legal });
    expect(verify()).toMatchObject({ archives: 3, rows: 5, broken: null });
    const [evidence = ''] = contentsOf(rig.archive).files;
    const bytes = readFileSync(join(rig.archive, evidence));
    writeFileSync(join(rig.archive, evidence), Buffer.concat([bytes, Buffer.from('x')]));
    expect(verify().broken?.name).toBe(evidence);
    writeFileSync(join(rig.archive, evidence), bytes);
    rig.legal = rig.retention?.legal.recorded() ?? [];
    rig.release(1);
    rig.hold({ user: 'bob' });
    rig.db.exec('ALTER TABLE audit_log RENAME COLUMN user_name TO login');
    rig.legal = rig.retention?.legal.recorded() ?? [];
    const config = rig.config;
    rig.config = (more) => {
      const whole = config.call(rig, more);
      return {
        ...whole,
        source: { ...whole.source, columns: { ...whole.source.columns, user_name: 'login' } },
      };
    };
    await rig.run(keep);
    expect(contentsOf(rig.archive).files.size).toBe(3);
    rig.release(3);
    rig.legal = rig.retention?.legal.recorded() ?? [];
    await rig.run(keep);
    expect(contentsOf(rig.archive).files.size).toBe(0);
  });
});

describe('a crash while holds are made', () => {
  afterAll(removeCompiled);

  it('each confirmed hold is in force after kill -9, and no run ignores it', async () => {
    const dist = compiled();
    const script = `
      const { State } = await import('${dist}/shipping/state.js');
      const { legalHoldStoreOf } = await import('${dist}/retention/legal-hold-store.js');
      const { createRecorder } = await import('${dist}/recorder/recorder.js');
      const state = new State('${rig.directory}/state');
      const recorder = createRecorder(state.db);
      const book = legalHoldStoreOf({ state, clock: Date.now, write: (entry) => void recorder.record(entry) }, { directory: '${rig.archive}', sign: null });
      for (;;) process.stdout.write(book.hold({ filter: { user: 'ann' }, reason: 'x' }, null).id + '\\n');
    `;
    rig.state.close();
    let told = 0;
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      while (!text.includes('\n')) await sleep(5);
      await sleep(5 + 9 * round);
      child.kill('SIGKILL');
      await once(child, 'close');
      const last = Number(text.trim().split('\n').at(-1));
      expect(last).toBeGreaterThan(told);
      told = last;
    }
    rig.reopen();
    rig.start();
    const held = readLegalHolds(rig.archive, rig.retention?.legal.recorded() ?? []);
    expect(held.inForce.length).toBeGreaterThanOrEqual(told);
    expect(held.inForce.length).toBeLessThanOrEqual(told + 1);
    rig.retention?.legal.adopt();
    await rig.quick();
    expect(rig.ids()).toEqual([1, 3, 5]);
    expect(rig.retention?.legal.recorded()).toHaveLength(held.inForce.length);
    expect(verifyArchives(rig.archive, { key: null, known: [] }).broken).toBeNull();
  });
});
