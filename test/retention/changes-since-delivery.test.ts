import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { NewEntry } from '../../src/recorder/recorder.js';
import { DeliveredRows } from '../../src/retention/changes-since-delivery.js';
import { createRead } from '../../src/retention/database-reader.js';
import type { Actor } from '../../src/retention/deletion-intent.js';
import { PurgeLedger, type PurgeStep } from '../../src/retention/deletion-ledger.js';
import { Notes } from '../../src/retention/saved-state.js';
import { Fingerprints } from '../../src/shipping/fingerprints.js';
import type { IdRange } from '../../src/shipping/id-ranges.js';
import { IdSet } from '../../src/shipping/id-set.js';
import { State } from '../../src/shipping/state.js';
import { RetentionRig } from './retention-fixture.js';

let rig: RetentionRig;
let state: State;
let baseline: Array<readonly IdRange[]>;
const HASH = 'f'.repeat(64);

beforeEach(() => {
  rig = new RetentionRig();
  mkdirSync(join(rig.directory, 'state'));
  state = new State(join(rig.directory, 'state'));
  baseline = [];
});
afterEach(() => {
  state.close();
  rig.close();
});

function deliver(from: number, to: number): void {
  const rows = Array.from({ length: to - from + 1 }, (_, at) => ({
    sequence: from + at,
    id: HASH.slice(0, 32),
  }));
  state.transaction(() => state.fingerprints.record('postern', 1, rows));
}

function missing(present: readonly number[], upTo: number): Promise<readonly IdRange[]> {
  const delivered = new DeliveredRows({
    read: createRead(state.path),
    source: 'postern',
    timeline: 1,
    onBaseline: (gone) => {
      baseline.push(gone);
      state.durably(() => state.accounted.begin('postern', 1, gone));
    },
  });
  const set = new IdSet();
  for (const id of present) set.add(id);
  return delivered.findMissing(set).then(() => {
    const archive = delivered.startComparison();
    archive.compare([{ id: upTo, eventId: HASH, time: 0, columns: {} }]);
    return archive.finish().missing;
  });
}

it('delivered rows that are neither in the table nor in an archive are missing, across several lookups', async () => {
  for (let from = 1; from <= 30_000; from += 150) deliver(from, from + 149);
  const present = Array.from({ length: 30_000 }, (_, at) => at + 1).filter((id) => id % 10_000 > 2);
  expect(await missing(present, 30_000)).toEqual([
    [1, 2],
    [10_000, 10_002],
    [20_000, 20_002],
    [30_000, 30_000],
  ]);
  expect(await missing(present, 10_001)).toEqual([
    [1, 2],
    [10_000, 10_001],
  ]);
  state.durably(() => state.accounted.add('postern', 1, [[1, 10_001]]));
  expect(await missing(present, 20_001)).toEqual([
    [10_002, 10_002],
    [20_000, 20_001],
  ]);
});

it('rows far apart are each compared with their own fingerprint, and with none in between', () => {
  for (let from = 1; from <= 30_000; from += 150) deliver(from, from + 149);
  const ids = [1, 2, 9_000, 9_001, 29_000];
  const asked: number[] = [];
  const { each } = Fingerprints.prototype;
  vi.spyOn(Fingerprints.prototype, 'each').mockImplementation(function (this: Fingerprints, ...given) {
    const [, , from, to] = given;
    asked.push(to - from);
    each.apply(this, given);
  });
  const archive = new DeliveredRows({
    read: createRead(state.path),
    source: 'postern',
    timeline: 1,
    onBaseline: () => undefined,
  }).startComparison();
  const row = (id: number) => ({ id, eventId: id === 9_001 ? '0'.repeat(64) : HASH, time: 0, columns: {} });
  archive.compare(ids.map(row));
  vi.restoreAllMocks();
  expect(archive.finish().said).toMatchObject({ compared: 5, differ: 1, differ_ids: [[9_001, 9_001]] });
  expect(Math.max(...asked)).toBe(1);
});

it('rows removed by a release without accounting do not count as missing', async () => {
  deliver(1, 5);
  state.setNote('retention_purged', '{}');
  state.db.exec('DROP TABLE accounted; PRAGMA user_version = 4');
  state.close();
  state = new State(join(rig.directory, 'state'));
  expect(await missing([3, 5], 5)).toEqual([]);
  expect(baseline).toEqual([
    [
      [1, 2],
      [4, 4],
    ],
  ]);
  expect(await missing([5], 5)).toEqual([[3, 3]]);
  expect(baseline).toHaveLength(1);
});

it('an archive is reported once, whatever is requested again', () => {
  deliver(1, 9);
  const written: NewEntry[] = [];
  const ledger = () =>
    new PurgeLedger({
      state,
      directory: rig.archive,
      write: (entry) => written.push(entry),
      notes: new Notes(state),
    });
  const record = { sequence: 1, file: 'f', count: 2, manifest_sha256: HASH };
  const said = { compared: 2, differ: 1, missing: 1, differ_ids: [], missing_ids: [] };
  const step: PurgeStep = {
    subject: { source: 'postern', month: '2020-01', sha256: HASH, record },
    block: 0,
    present: 2,
    isNew: true,
    timeline: 1,
    ids: [[1, 2]],
    change: { said, missing: [[7, 7]] },
  };
  const by: Actor = { kind: 'scheduled' };
  expect(ledger().begin(step, by, {})).toContain(
    'archive 1: 1 row of it differs from what was delivered, 1 row is missing since',
  );
  expect(ledger().begin({ ...step, isNew: false }, by, {})).toBeNull();
  expect(written.map(({ action }) => action)).toEqual(['daemon.archive_create', 'daemon.rows_changed']);
  const known = state.accounted.of('postern', 1);
  expect([1, 2, 3, 7].filter((id) => known.has(id))).toEqual([1, 2, 7]);
  const forged: IdRange[] = [1, 2, 1].map((first) => [first, Number.MAX_SAFE_INTEGER]);
  ledger().begin({ ...step, change: { said, missing: forged } }, by, {}); // counting its ids would never end
  const all = state.accounted.of('postern', 1);
  expect([1, 3, 9, 10, 5_000].filter((id) => all.has(id))).toEqual([1, 3, 9]);
});
