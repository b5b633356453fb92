import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { type MemorySink, ShippingRig } from './shipping-fixture.js';

async function withRig(work: (rig: ShippingRig) => Promise<void>, view = false): Promise<void> {
  const rig = new ShippingRig({ autoincrement: true, view });
  try {
    await rig.start();
    await work(rig);
  } finally {
    await rig.close();
  }
}

/** What a sink has had of a row, in its order. */
function versionsOf(sink: MemorySink, id: number): Array<string | null> {
  return sink.got.filter(({ sequence }) => sequence === id).map(({ details }) => details);
}

const MINUTE = 61_000;
const RUNS = Number(process.env.EDIT_RUNS ?? 60);

describe('an edited row', () => {
  it('an edit of the last row is a version, and not another history', () =>
    withRig(async (rig) => {
      rig.append(10);
      await rig.settle();
      const edited = rig.change(10);
      await rig.settle();
      rig.append(2);
      await rig.settle();
      expect(rig.replaced).toEqual([]);
      expect(rig.sinks.good.got.length).toBe(13);
      expect(versionsOf(rig.sinks.good, 10).at(-1)).toBe(edited);
      expect(rig.sinks.good.got.find(({ isRevision }) => isRevision)).toMatchObject({
        source: 'auditd',
        action: 'daemon.row_edited',
      });
    }));

  it('an edit of a row before newer ones is found, and shipped under its new action', () =>
    withRig(async (rig) => {
      rig.append(3);
      await rig.settle();
      rig.change(1, 'auth.login_failure');
      await rig.settle();
      rig.change(1, 'auth.login_failure');
      await rig.settle();
      expect(rig.sinks.good.got.filter(({ isRevision }) => isRevision).map(({ action }) => action)).toEqual([
        'auth.login_failure',
        'daemon.row_edited',
      ]);
    }));

  it('an edit made while the daemon is down is found at the start', () =>
    withRig(async (rig) => {
      rig.append(5);
      await rig.settle();
      await rig.stop();
      const edited = rig.change(2);
      rig.append(1);
      rig.pass(10 * MINUTE);
      await rig.start();
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 2).length).toBe(2);
      expect(versionsOf(rig.sinks.good, 2)[1]).toBe(edited);
      expect(rig.replaced).toEqual([]);
      await rig.stop(); // the minute begins anew at no start
      await rig.start();
      await rig.settle();
      rig.change(2);
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 2).length).toBe(2);
    }));

  it('two edits within a second may count as one: the newest is a version a second later', () =>
    withRig(async (rig) => {
      rig.append(3);
      await rig.settle();
      const second = rig.change(2);
      await rig.settle();
      const third = JSON.stringify({ content: 'third' });
      const last = JSON.stringify({ content: 'last' });
      for (const details of [third, last])
        rig.sql(`UPDATE audit_log SET details = '${details}' WHERE id = 2`);
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 2).slice(1)).toEqual([second]);
      rig.pass(1_001);
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 2).slice(1)).toEqual([second, last]);
    }));

  it('an edit after a minute is not searched for, and does not start another timeline', () =>
    withRig(async (rig) => {
      rig.append(5);
      await rig.settle();
      rig.pass(MINUTE);
      rig.change(2);
      rig.change(5);
      await rig.settle();
      rig.append(1);
      await rig.settle();
      expect(rig.sinks.good.got.length).toBe(6);
      expect(rig.replaced).toEqual([]);
    }));

  it('an edit that is reverted is another version', () =>
    withRig(async (rig) => {
      rig.append(2);
      await rig.settle();
      const [first] = versionsOf(rig.sinks.good, 1);
      const second = rig.change(1);
      await rig.settle();
      rig.change(1, 'update', first ?? '');
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 1)).toEqual([first, second, first]);
    }));

  it('only the newest thousand rows are watched for edits', () =>
    withRig(async (rig) => {
      rig.append(1_500);
      await rig.settle();
      rig.change(400);
      rig.change(600);
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 400).length).toBe(1);
      expect(versionsOf(rig.sinks.good, 600).length).toBe(2);
    }));

  it('changed joined values of a view begin no other history, and ship only rows read in the last minute again', () =>
    withRig(async (rig) => {
      rig.append(1_200);
      await rig.settle();
      rig.pass(MINUTE);
      rig.append(3);
      await rig.settle();
      rig.sql("UPDATE user SET name = 'Ann B.'");
      await rig.settle();
      rig.append(1);
      await rig.settle();
      expect(rig.replaced).toEqual([]);
      expect(
        rig.sinks.good.got.filter(({ isRevision }) => isRevision).map(({ sequence }) => sequence),
      ).toEqual([1_201, 1_202, 1_203]);
      expect(rig.sinks.good.got.length).toBe(1_207);
    }, true));
});

describe('a sink that has not reached an edited row', () => {
  it('a sink that had not reached an edited row gets its original values, and each version once', () =>
    withRig(async (rig) => {
      rig.append(2);
      await rig.settle();
      rig.sinks.lagging.down = true;
      rig.append(30_000); // more than the pages that are kept
      await rig.settle();
      const [first] = versionsOf(rig.sinks.good, 29_500);
      const second = rig.change(29_500);
      await rig.settle();
      const third = rig.change(29_500);
      await rig.settle();
      await rig.stop();
      await rig.start();
      rig.sinks.lagging.down = false;
      await rig.settle();
      for (const sink of Object.values(rig.sinks))
        expect(new Set(versionsOf(sink, 29_500))).toEqual(new Set([first, second, third]));
      expect(rig.sinks.lagging.got.length).toBe(rig.sinks.good.got.length);
    }));

  it('a sink that reaches an edited row after its minute gets the current values, once, even after a restart', () =>
    withRig(async (rig) => {
      rig.append(2);
      await rig.settle();
      rig.sinks.lagging.down = true;
      rig.append(3);
      await rig.settle();
      rig.pass(MINUTE);
      await rig.stop(); // with the pages that it keeps
      await rig.start();
      await rig.settle();
      const second = rig.change(4);
      rig.sinks.lagging.down = false;
      await rig.settle();
      await rig.stop();
      await rig.start(); // looks at what was read in the last minute before the end
      await rig.settle();
      expect(versionsOf(rig.sinks.lagging, 4)).toEqual([second]);
      expect(rig.sinks.lagging.got.length).toBe(5);
    }));

  it('a sink gets an edited row with unknown old values as it is, once', () =>
    withRig(async (rig) => {
      rig.append(2);
      await rig.settle();
      rig.sinks.lagging.down = true;
      rig.append(3);
      await rig.settle();
      await rig.stop();
      const second = rig.change(4);
      await rig.start();
      await rig.settle();
      const third = rig.change(4);
      await rig.settle();
      rig.sinks.lagging.down = false;
      await rig.settle();
      expect(versionsOf(rig.sinks.good, 4).slice(1)).toEqual([second, third]);
      expect(new Set(versionsOf(rig.sinks.lagging, 4))).toEqual(new Set([second, third]));
      rig.backup('a');
      rig.append(1);
      await rig.settle();
      rig.restore('a', 'rename'); // the walk finds it once more
      rig.append(1);
      await rig.settle();
      expect(rig.replaced.length).toBe(1);
      expect(rig.sinks.lagging.got.length).toBe(5 + 1 + 2);
      expect(rig.sinks.good.got.length).toBe(5 + 2 + 2);
    }));
});

it('a changed row with only a fingerprint is not an edit: the table is scanned as another history, and nothing is lost', () =>
  withRig(async (rig) => {
    rig.append(5);
    await rig.settle();
    await rig.stop();
    const state = new Database(rig.stateDatabase); // the death came before the last page of a backlog was written here
    state.exec('DELETE FROM recent WHERE id > 3');
    state.close();
    const edited = rig.change(5);
    await rig.start();
    await rig.settle();
    expect(rig.replaced.length).toBe(1);
    expect(versionsOf(rig.sinks.good, 5).at(-1)).toBe(edited);
    expect(rig.sinks.good.got.length).toBe(6);
  }));

it('a sink whose remaining rows are all deleted no longer lags', () =>
  withRig(async (rig) => {
    rig.append(2);
    await rig.settle();
    rig.sinks.lagging.down = true;
    rig.append(2);
    await rig.settle();
    rig.sql('DELETE FROM audit_log');
    await rig.stop(); // with the pages that it keeps
    await rig.start();
    rig.sinks.lagging.down = false;
    await rig.settle(); // until nothing lags
    rig.append(1);
    await rig.settle();
    expect(rig.sinks.lagging.got.length).toBe(3);
    expect(rig.sinks.good.got.length).toBe(5);
  }));

interface Version {
  readonly details: string;
  /** It was there at rest, and is to be in the files. */
  required: boolean;
  readonly mayBeMissed: boolean;
}

class Model {
  readonly rows = new Map<number, { versions: Version[]; isOld: boolean; isGone: boolean }>();

  constructor(private readonly rig: ShippingRig) {}

  appended(): void {
    for (const { id, details } of this.rig.rows()) {
      if (this.rows.has(id)) continue;
      const first = { details, required: false, mayBeMissed: false };
      this.rows.set(id, { versions: [first], isOld: false, isGone: false });
    }
  }

  atRest(): void {
    for (const { versions, isGone } of this.rows.values()) {
      const last = versions.at(-1);
      const before = versions.slice(0, -1).findLast(({ required }) => required);
      // Back to what it was before anybody had looked: nothing has happened.
      if (last === undefined || isGone || last.mayBeMissed || before?.details === last.details) continue;
      last.required = true;
    }
  }

  check(sink: MemorySink, isBehind: boolean, mayLoseFirst = false): void {
    expect(new Set(sink.got.map(({ id }) => id)).size, 'each line once').toBe(sink.got.length);
    for (const [id, { versions, isGone }] of this.rows) {
      const got = sink.got
        .filter(({ sequence }) => sequence === id)
        .toSorted((a, b) => Number(a.isRevision) - Number(b.isRevision))
        .map(({ details }) => details ?? '');
      const all = versions.map(({ details }) => details);
      const needed = versions.filter(({ required }) => required).map(({ details }) => details);
      expect(isPart(got, all), `row ${id}: ${got} of ${all}`).toBe(true);
      // Behind, it gets what nobody looked for as it is: there is no more than that in the table.
      const isUnwatched = versions.some(({ mayBeMissed }) => mayBeMissed);
      if (isBehind && isGone) continue; // with its row, before it came by
      if (isBehind && isUnwatched)
        expect(got.length, `row ${id}`).toBeGreaterThan(needed.length === 0 ? -1 : 0);
      else if (isBehind && mayLoseFirst) expect([undefined, ...got], `row ${id}`).toContain(needed.at(-1));
      else expect(isPart(needed, got), `row ${id}: ${needed} in ${got}`).toBe(true);
    }
  }
}

/** In this order, with others between. */
function isPart(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const one of whole) if (one === part[at]) at++;
  return at === part.length;
}

describe('random edits and crashes', () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ op: fc.constant('append' as const), count: fc.integer({ min: 1, max: 6 }) }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        op: fc.constantFrom('edit' as const, 'revert' as const, 'delete' as const),
        back: fc.integer({ min: 0, max: 8 }),
        times: fc.integer({ min: 1, max: 2 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('pass' as const) }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('restart' as const), isDown: fc.boolean() }) },
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constant('crash' as const), after: fc.integer({ min: 0, max: 6 }) }),
    },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('lag' as const) }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant('rest' as const) }) },
  );

  it('each version that was at rest is delivered to each sink once, whatever is edited and whenever the process crashes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 20 }), async (steps) => {
        await withRig(async (rig) => {
          const model = new Model(rig);
          let hasDiedBehind = false;
          rig.sinks.good.isSlow = true;
          rig.sinks.lagging.isSlow = true;
          const rest = async () => {
            await rig.settle();
            model.atRest();
            model.check(rig.sinks.good, false);
            if (!rig.sinks.lagging.down) model.check(rig.sinks.lagging, true, hasDiedBehind);
          };
          const edit = (back: number, isRevert: boolean) => {
            const ids = [...model.rows].filter(([, row]) => !row.isGone).map(([id]) => id);
            const id = ids.at(-1 - back);
            const row = id === undefined ? undefined : model.rows.get(id);
            if (id === undefined || row === undefined) return;
            const before = isRevert ? row.versions.at(-2)?.details : undefined;
            const details = before === undefined ? rig.change(id) : rig.change(id, 'update', before);
            row.versions.push({ details, required: false, mayBeMissed: row.isOld });
          };
          for (const taken of steps) {
            if (taken.op === 'append') {
              rig.append(taken.count);
              model.appended();
            }
            if (taken.op === 'edit' || taken.op === 'revert')
              for (let time = 0; time < taken.times; time++) edit(taken.back, taken.op === 'revert');
            if (taken.op === 'delete') {
              const id = [...model.rows].filter(([, row]) => !row.isGone).at(-1 - taken.back)?.[0] ?? 0;
              const row = model.rows.get(id);
              rig.sql(`DELETE FROM audit_log WHERE id = ${id}`);
              if (row !== undefined) row.isGone = true;
            }
            if (taken.op === 'pass') {
              await rest();
              rig.pass(MINUTE);
              for (const row of model.rows.values()) row.isOld = true;
            }
            if (taken.op === 'restart') {
              hasDiedBehind ||= rig.sinks.lagging.down;
              await rig.stop();
              if (taken.isDown) edit(0, false);
              await rig.start();
            }
            if (taken.op === 'crash') {
              rig.poke();
              await sleep(taken.after);
              hasDiedBehind = true; // it may be behind in this very moment
              await rig.crash();
            }
            if (taken.op === 'lag') {
              rig.sinks.lagging.down = !rig.sinks.lagging.down;
              if (!rig.sinks.lagging.down) await rest();
            }
            if (taken.op === 'rest') await rest();
          }
          rig.sinks.lagging.down = false;
          await rest();
          expect(rig.replaced).toEqual([]);
        });
      }),
      { numRuns: RUNS },
    );
  }, 3_000_000);
});
