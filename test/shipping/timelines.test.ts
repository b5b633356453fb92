import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type MemorySink, ShippingRig } from './shipping-fixture.js';

type Way = 'rename' | 'copy' | 'remove and copy' | 'into';

const keys = (rows: ReadonlyArray<{ sequence: number; details: string | null }>) =>
  rows.map((row) => `${row.sequence}=${row.details}`);

/** A row that an edit or a restored database brings back to what it was is a version once more. */
function expectOnce(sink: MemorySink): void {
  const got = keys(sink.got.filter(({ isRevision }) => !isRevision));
  expect(got.length).toBe(new Set(got).size);
  expect(new Set(sink.got.map(({ id }) => id)).size).toBe(sink.got.length);
}

async function withRig(work: (rig: ShippingRig) => Promise<void>, autoincrement = true): Promise<void> {
  const rig = new ShippingRig({ autoincrement });
  try {
    await rig.start();
    await work(rig);
  } finally {
    await rig.close();
  }
}

/** Everything that is in the table now has been delivered, exactly once, and the old not again. */
async function expectAll(rig: ShippingRig, count: number): Promise<void> {
  await rig.settle();
  const { good } = rig.sinks;
  expectOnce(good);
  const got = new Set(keys(good.got));
  for (const { id, details } of rig.rows()) expect(got).toContain(`${id}=${details}`);
  expect(good.got.length).toBe(count);
}

const WAYS: readonly Way[] = ['rename', 'copy', 'remove and copy', 'into'];

describe.each(WAYS)('a backup put back by %s', (way) => {
  it('a backup restored while running: no old row is shipped again, and no new row is missed', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.backup('a');
      rig.append(5);
      await expectAll(rig, 15);
      rig.restore('a', way);
      await expectAll(rig, 15);
      rig.append(7); // ids 11 to 17 again, with other content
      await expectAll(rig, 22);
      expect(rig.replaced.length).toBe(1);
    }));

  it('a backup restored while the daemon was down, with new rows after the cursor', () =>
    withRig(async (rig) => {
      rig.append(10);
      rig.backup('a');
      rig.append(5);
      await expectAll(rig, 15);
      await rig.stop();
      rig.restore('a', way);
      rig.append(9);
      await rig.start();
      await expectAll(rig, 24);
    }));

  it('a wrong backup is restored first, then the right one', () =>
    withRig(async (rig) => {
      rig.append(4);
      rig.backup('wrong');
      rig.append(6);
      rig.backup('right');
      rig.append(2);
      await expectAll(rig, 12);
      rig.restore('wrong', way);
      rig.append(1);
      await expectAll(rig, 13);
      rig.restore('right', way);
      rig.append(3);
      await expectAll(rig, 16);
    }));
});

describe('rows changed by hand', () => {
  it('rows deleted at the end, with continued ids, are not another history', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.sql('DELETE FROM audit_log WHERE id > 7');
      await rig.settle();
      rig.append(3);
      await expectAll(rig, 13);
      expect(rig.replaced).toEqual([]);
    }));

  it('a table emptied with its sequence kept is continued', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.sql('DELETE FROM audit_log');
      await rig.settle();
      rig.append(3);
      await expectAll(rig, 13);
      expect(rig.replaced).toEqual([]);
    }));

  it('a table emptied with its sequence reset reuses ids, and nothing is missed', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.sql('DELETE FROM audit_log; DELETE FROM sqlite_sequence');
      rig.append(12);
      await expectAll(rig, 22);
    }));

  it('an edit of the last row ships only that row', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.edit(10);
      rig.append(1);
      await expectAll(rig, 12);
    }));

  it('a table that is dropped and created again is read from its beginning', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.sql('DROP TABLE audit_log');
      rig.create();
      rig.append(11);
      await expectAll(rig, 21);
    }));

  it('last rows deleted without AUTOINCREMENT: reused ids are read', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.sql('DELETE FROM audit_log WHERE id > 6');
      await rig.settle();
      rig.append(2);
      await expectAll(rig, 12);
    }, false));

  it('a column added with a default changes no event id', () =>
    withRig(async (rig) => {
      rig.append(10);
      await expectAll(rig, 10);
      rig.sql(
        `ALTER TABLE audit_log ADD COLUMN server TEXT DEFAULT 'here'; ALTER TABLE audit_log ADD COLUMN more TEXT DEFAULT 'x'`,
      );
      rig.append(2);
      await expectAll(rig, 12);
      expect(rig.replaced).toEqual([]);
    }));
});

describe('a lagging sink', () => {
  it('a lagging sink keeps the rows that both histories share, and lost rows are named', () =>
    withRig(async (rig) => {
      rig.append(10);
      await rig.settle();
      rig.sinks.lagging.down = true;
      rig.append(10);
      rig.backup('a'); // 20 rows
      rig.append(10);
      await rig.settle(); // the good one has 30
      rig.restore('a', 'rename');
      rig.append(5);
      await rig.settle();
      rig.sinks.lagging.down = false;
      await rig.settle();
      expectOnce(rig.sinks.good);
      expectOnce(rig.sinks.lagging);
      expect(rig.sinks.good.got.length).toBe(35);
      expect(rig.sinks.lagging.got.length).toBe(25);
      expect(rig.lost).toEqual([{ sink: 'lagging', timeline: 1, count: 10, ranges: [[21, 30]] }]);
    }));

  it('a sink no longer lags behind a table that was restored to a state without rows', () =>
    withRig(async (rig) => {
      rig.backup('empty');
      rig.append(2);
      await rig.settle();
      rig.sinks.lagging.down = true;
      rig.append(2);
      await rig.settle();
      rig.backup('right');
      await rig.stop(); // with the pages that it keeps
      rig.restore('empty', 'rename');
      await rig.start();
      await rig.settle();
      rig.sinks.lagging.down = false;
      await rig.settle(); // until nothing lags
      expect(rig.lost).toEqual([{ sink: 'lagging', timeline: 1, count: 2, ranges: [[3, 4]] }]);
      rig.restore('right', 'rename');
      rig.append(1);
      await rig.settle();
      expect(rig.sinks.lagging.got.length).toBe(5);
      expect(rig.sinks.good.got.length).toBe(5);
    }));
});

describe('random changes of the database', () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ op: fc.constant('append' as const), count: fc.integer({ min: 1, max: 6 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ op: fc.constant('backup' as const), name: fc.constantFrom('a', 'b') }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        op: fc.constant('restore' as const),
        name: fc.constantFrom('a', 'b'),
        way: fc.constantFrom(...WAYS),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant('delete' as const),
        part: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('empty' as const), reset: fc.boolean() }) },
    {
      weight: 2,
      arbitrary: fc.record({
        op: fc.constant('edit' as const),
        part: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('restart' as const) }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('settle' as const) }) },
  );

  it.each([true, false])(
    'every row that was seen at rest is delivered exactly once, whatever is done to the database (AUTOINCREMENT %s)',
    async (autoincrement) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 16 }), async (steps) => {
          const seen = new Set<string>();
          await withRig(async (rig) => {
            const rest = async () => {
              await rig.settle();
              for (const { id, details } of rig.rows()) seen.add(`${id}=${details}`);
              expectOnce(rig.sinks.good);
              const got = keys(rig.sinks.good.got);
              for (const row of seen) expect(got).toContain(row);
            };
            for (const taken of steps) {
              // A row can only be told from one of another history once it was looked at: so at rest before ids go back.
              if (['restore', 'delete', 'empty', 'edit'].includes(taken.op)) await rest();
              if (taken.op === 'append') rig.append(taken.count);
              if (taken.op === 'backup') rig.backup(taken.name);
              if (taken.op === 'restore') rig.restore(taken.name, taken.way);
              if (taken.op === 'delete')
                rig.sql(
                  `DELETE FROM audit_log WHERE id > (SELECT coalesce(max(id), 0) FROM audit_log) * ${taken.part}`,
                );
              if (taken.op === 'empty')
                rig.sql(
                  `DELETE FROM audit_log; ${taken.reset && autoincrement ? 'DELETE FROM sqlite_sequence' : ''}`,
                );
              if (taken.op === 'edit') {
                const rows = rig.rows();
                rig.edit(rows[Math.min(rows.length - 1, Math.floor(rows.length * taken.part))]?.id ?? 0);
              }
              if (taken.op === 'restart') {
                await rig.stop();
                await rig.start();
              }
              if (taken.op === 'settle') await rest();
            }
            await rest();
          }, autoincrement);
        }),
        { numRuns: 40 },
      );
    },
  );
});
