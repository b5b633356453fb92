import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { config as schema } from '../../../src/config/schema.js';
import Database from '../../../src/load-sqlite.js';
import { QueryEngine } from '../../../src/query/engine.js';
import type { Entry } from '../../../src/query/entry.js';
import { EVERYTHING, type Filter } from '../../../src/query/filter.js';
import { TableRows } from '../../../src/retention/archive/table-rows.js';
import { createArchive, monthOf } from '../../../src/retention/archive/write.js';
import { AUDITD_TABLE } from '../../../src/source/table-schema.js';
import { COMPRESSION } from '../../retention/archive/compression.js';
import { rowReader, SOURCE_ID } from '../../retention/archive/table.js';
import { ShippingRig } from '../../shipping/shipping-fixture.js';
import { exported } from '../tables.js';

let rig: ShippingRig;
let engine: QueryEngine;
let edited: string[];

beforeEach(async () => {
  rig = new ShippingRig();
  await rig.start();
  rig.append(5);
  await rig.settle();
  edited = [];
  for (const action of ['update', 'auth.login_failure', 'auth.login_failure']) {
    edited.push(rig.change(2, action));
    await rig.settle();
  }
  const { source, redact } = schema.parse({ source: { database: rig.database } });
  engine = new QueryEngine({
    ...source,
    redact,
    stateDatabase: rig.stateDatabase,
    server: 'here',
    archives: join(rig.directory, 'archive'),
  });
});
afterEach(async () => {
  engine.close();
  await rig.close();
});

function page(filter: Partial<Filter> = {}) {
  const request = { page: 1, limit: 50, cursor: null, count: 'all', timeLimit: 60_000 } as const;
  return engine.page({ ...request, filter: { ...EVERYTHING, ...filter } });
}

const contents = (entries: readonly Entry[] = []) => entries.map(({ details }) => JSON.stringify(details));

describe('an edited row', () => {
  it('an edited row counts once, in its current form, in pages, totals, statistics and exports', () => {
    const { entries, total } = page();
    expect(total).toBe(5);
    expect(entries.map(({ id }) => id).toSorted()).toEqual([1, 2, 3, 4, 5].map((id) => `postern:${id}`));
    expect(page({ action: 'auth.login_failure' })).toMatchObject({
      total: 1,
      entries: [{ id: 'postern:2' }],
    });
    const stats = engine.stats(EVERYTHING, 10, 60_000);
    expect(stats).toMatchObject({ total: 5, failed_logins: 1, failures: 1 });
    expect(exported(engine, EVERYTHING).trim().split('\n').length).toBe(5);
  });

  it('an edited row has its versions in order', () => {
    const two = page().entries.find(({ id }) => id === 'postern:2');
    expect(contents(two?.versions)).toEqual(edited);
    expect(two?.versions?.map(({ id, action }) => [id, action])).toEqual([
      ['auditd:1', 'daemon.row_edited'],
      ['auditd:2', 'auth.login_failure'],
      ['auditd:3', 'daemon.row_edited'],
    ]);
    expect(page().entries.filter(({ versions }) => versions !== undefined).length).toBe(1);
    const request = { page: 1, limit: 50, cursor: null, count: 'some', timeLimit: 60_000 } as const;
    const text = new TextDecoder().decode(engine.text({ ...request, filter: EVERYTHING }, 'json').bytes);
    expect(JSON.parse(text).entries).toEqual(page().entries);
  });

  it('an edited row has its versions in exports as NDJSON and JSON, also after many others; CSV has only the row', async () => {
    const { entries } = page();
    const lines = exported(engine, EVERYTHING).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toEqual(entries);
    expect(JSON.parse(exported(engine, EVERYTHING, 'json')).entries).toEqual(entries);
    expect(exported(engine, EVERYTHING, 'csv').trim().split('\n').length).toBe(1 + 5);
    rig.append(1_000);
    await rig.settle();
    const all = exported(engine, EVERYTHING).trim().split('\n');
    const edits = all.map((line) => JSON.parse(line)).filter(({ versions }) => versions !== undefined);
    expect([all.length, edits]).toEqual([1_005, entries.filter(({ id }) => id === 'postern:2')]);
  });

  it("an edited row has its versions as entries of their own in queries for the daemon's table or for edits", () => {
    expect(page({ source: 'auditd' }).entries.map(({ id }) => id)).toEqual([
      'auditd:3',
      'auditd:2',
      'auditd:1',
    ]);
    expect(page({ action: 'daemon.row_edited' }).total).toBe(2);
  });

  it('an edited row counts once if its versions are archived too', async () => {
    const db = new Database(rig.stateDatabase);
    const rows = () => new TableRows(db, AUDITD_TABLE, rowReader());
    const found = rows().byIds([1, 2, 3]);
    const archive = createArchive({
      directory: join(rig.directory, 'archive'),
      source: 'auditd',
      sourceId: SOURCE_ID,
      timeline: 1,
      table: rows().shape,
      month: monthOf(found[0]?.time ?? null),
      run: 'test',
      compression: COMPRESSION,
      sign: null,
      clock: Date.now,
    });
    for (const row of found) archive.add(row);
    await archive.finish((some) => rows().byIds(some));
    const withArchives = { archives: true };
    expect(page(withArchives).total).toBe(5);
    db.exec('DELETE FROM audit_log');
    db.close();
    expect(page(withArchives).total).toBe(5);
    expect(page({ ...withArchives, source: 'auditd' }).entries.map(({ id }) => id)).toEqual([
      'auditd:3',
      'auditd:2',
      'auditd:1',
    ]);
  });

  it('an edited row is shown by its versions, as entries of their own, once it is deleted from the table', () => {
    const ids = () => new Set(page().entries.map(({ id }) => id));
    const versions = ['auditd:1', 'auditd:2', 'auditd:3'];
    rig.sql('DELETE FROM audit_log WHERE id = 2');
    expect(ids()).toEqual(new Set([...versions, ...[1, 3, 4, 5].map((id) => `postern:${id}`)]));
    expect([page().total, engine.stats(EVERYTHING, 10, 60_000).total]).toEqual([7, 7]);
    expect(page({ action: 'auth.login_failure' }).entries.map(({ id }) => id)).toEqual(['auditd:2']);
    rig.sql('DELETE FROM audit_log WHERE id < 4'); // as a purge does
    expect(ids()).toEqual(new Set([...versions, 'postern:4', 'postern:5']));
    rig.sql('DELETE FROM audit_log');
    expect(ids()).toEqual(new Set(versions));
    expect(exported(engine, EVERYTHING).trim().split('\n').length).toBe(3);
  });

  it('an edited row has no versions of another history', async () => {
    await rig.stop();
    rig.sql('DELETE FROM audit_log; DELETE FROM sqlite_sequence');
    rig.append(3);
    await rig.start();
    await rig.settle();
    expect(page().entries.flatMap(({ versions }) => versions ?? [])).toEqual([]);
    expect(page().total).toBe(3);
  });
});
