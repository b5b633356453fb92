import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type MemorySink, type Row, ShippingRig } from './shipping-fixture.js';

/**
 * Rows inserted, edited, deleted, restored; two sinks at different places, and fail2ban's with its own pair of files; deaths between any two of
 * these and around a restore. What was at rest is in each sink once, and each failure stands in the pair once.
 */

const MINUTE = 61_000;
/** A failure that is older may no longer come to fail2ban. */
const FRESH_MS = 45_000;
const RUNS = Number(process.env.EDIT_RUNS ?? 15);
const WAYS = ['rename', 'copy', 'remove and copy', 'into'] as const;
const ADDRESSES = ['203.0.113.1', '203.0.113.2', '2001:db8::1'] as const;

/** A row of a history: another one at its id has another time. */
const keyOf = ({ id, time }: Pick<Row, 'id' | 'time'>) => `${id} ${time}`;
const contentOf = ({ id, details }: { id: number; details: string | null }) => `${id}=${details}`;

interface Failure {
  /** It was at rest while it was fresh: fail2ban is to have it. */
  required: boolean;
  /** Some version of it was a failure with an address. */
  counts: boolean;
}

class Model {
  /** How often a row has come to be what it then was: as often at most it is a version. */
  private readonly births = new Map<string, number>();
  private readonly required = new Set<string>();
  /** Nobody looked for these: a row was edited after its minute. */
  private readonly unwatched = new Set<string>();
  private readonly failures = new Map<string, Failure>();
  private readonly old = new Set<string>();
  private before = new Map<string, Row>();

  constructor(private readonly rig: ShippingRig) {}

  /** To be called after each change of the table. */
  changed(isRestore = false): void {
    const now = new Map(this.rig.rows().map((row) => [keyOf(row), row]));
    for (const [key, row] of now) {
      const was = this.before.get(key);
      const content = contentOf(row);
      const { counts, required } = this.failures.get(key) ?? { counts: false, required: false };
      const isFailure = row.action === 'auth.login_failure' && row.address !== null;
      this.failures.set(key, { required, counts: counts || isFailure });
      if (
        was !== undefined &&
        contentOf(was) === content &&
        was.action === row.action &&
        was.address === row.address
      )
        continue;
      if (was === undefined && isRestore && this.births.has(content)) continue; // it was there before
      this.births.set(content, (this.births.get(content) ?? 0) + 1);
      if (was !== undefined && this.old.has(key) && !this.required.has(content)) this.unwatched.add(content);
    }
    this.before = now;
  }

  passed(): void {
    for (const key of this.before.keys()) this.old.add(key);
  }

  rest(): void {
    const now = this.rig.clock();
    for (const row of this.before.values()) {
      if (!this.unwatched.has(contentOf(row))) this.required.add(contentOf(row));
      const failure = this.failures.get(keyOf(row));
      const isFresh = Math.abs(now - Date.parse(row.time)) < FRESH_MS;
      const isFailure = row.action === 'auth.login_failure' && row.address !== null;
      if (failure !== undefined && isFresh && isFailure) failure.required = true;
    }
    const { good, lagging } = this.rig.sinks;
    this.check(good, this.required);
    // Rows that it had not had and that a restored database does not have are gone (and named): what is there it has.
    if (!lagging.down) {
      const there = [...this.before.values()].map(contentOf).filter((one) => this.required.has(one));
      this.check(lagging, new Set(there));
    }
    this.checkPair();
  }

  private check(sink: MemorySink, required: ReadonlySet<string>): void {
    expect(new Set(sink.got.map(({ id }) => id)).size, 'each line once').toBe(sink.got.length);
    const counts = new Map<string, number>();
    for (const { sequence, details } of sink.got) {
      const content = contentOf({ id: sequence, details });
      counts.set(content, (counts.get(content) ?? 0) + 1);
    }
    for (const [content, count] of counts)
      expect(count, `${content}: as often as it came to be that`).toBeLessThanOrEqual(
        this.births.get(content) ?? 0,
      );
    for (const content of required)
      expect(counts.get(content) ?? 0, `${content} is missing`).toBeGreaterThan(0);
  }

  /**
   * Of one history a row is one failure, whatever its address is by now. Where another history has it with another address, that is another one:
   * ids are given out again there, within the second perhaps.
   */
  private checkPair(): void {
    const lines = this.rig.pair.lines();
    const found = new Set<string>();
    for (const { sequence, revisionOf, time, timeline, address } of lines) {
      const key = keyOf({ id: revisionOf ?? sequence, time });
      expect(this.failures.get(key)?.counts, `${key} was no failure`).toBe(true);
      const ones =
        revisionOf === null ? [`${key} of ${timeline}`, `${key} ${address}`] : [`${key} ${address}`];
      for (const one of ones) {
        expect(found.has(one), `${one} once in the pair: ${JSON.stringify(lines)}`).toBe(false);
        found.add(one);
      }
      found.add(key);
    }
    for (const [key, { required }] of this.failures)
      if (required) expect(found.has(key), `failure ${key} in the pair`).toBe(true);
  }
}

const which = { back: fc.integer({ min: 0, max: 6 }) };
const when = fc.integer({ min: 0, max: 6 });
const step = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('append' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('fail' as const),
      address: fc.constantFrom(...ADDRESSES, null),
      isOld: fc.integer({ min: 0, max: 5 }),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('edit' as const),
      ...which,
      to: fc.constantFrom('update', 'auth.login_failure', 'auth.login_failure', null),
      address: fc.constantFrom(...ADDRESSES, undefined),
      times: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), ...which }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('backup' as const), name: fc.constantFrom('a', 'b') }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('restore' as const),
      name: fc.constantFrom('a', 'b'),
      way: fc.constantFrom(...WAYS),
      death: fc.constantFrom('none', 'before', 'while down', 'after', 'twice'),
      after: when,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('pass' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('restart' as const), isEdited: fc.boolean(), ...which }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('crash' as const),
      after: when,
      torn: fc.constantFrom(0, 0, 1, 40, 400),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('lag' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('rest' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Course {
  private readonly model: Model;
  /** A line is torn only by a death in the moment in which it is written. */
  private restedLines = 0;

  constructor(private readonly rig: ShippingRig) {
    this.model = new Model(rig);
    rig.sinks.good.isSlow = true;
    rig.sinks.lagging.isSlow = true;
  }

  async rest(): Promise<void> {
    await this.rig.settle();
    this.model.rest();
    this.restedLines = this.rig.pair.lines().length;
  }

  async take(taken: Step): Promise<void> {
    const { rig, model } = this;
    switch (taken.op) {
      case 'append':
        rig.append(taken.count);
        return model.changed();
      case 'fail':
        for (let n = 0; n < taken.count; n++) rig.fail(taken.address, taken.isOld === 0 ? 2 * MINUTE : 0);
        return model.changed();
      case 'edit':
        for (let time = 0; time < taken.times; time++) this.edit(taken.back, taken.to, taken.address);
        return;
      case 'delete': {
        await this.rest(); // a row that nobody has looked at is gone
        rig.sql(`DELETE FROM audit_log WHERE id = ${this.idAt(taken.back) ?? 0}`);
        return model.changed();
      }
      case 'backup':
        return rig.backup(taken.name);
      case 'restore':
        return this.restore(taken);
      case 'pass':
        await this.rest();
        rig.pass(MINUTE);
        return model.passed();
      case 'restart':
        await rig.stop();
        if (taken.isEdited) this.edit(taken.back, 'auth.login_failure', undefined);
        return rig.start();
      case 'crash':
        rig.poke();
        await sleep(taken.after);
        return rig.crash(rig.pair.lines().length > this.restedLines ? taken.torn : 0);
      case 'lag':
        rig.sinks.lagging.down = !rig.sinks.lagging.down;
        return;
      case 'rest':
        return this.rest();
    }
  }

  async end(): Promise<void> {
    this.rig.sinks.lagging.down = false;
    await this.rest();
    await this.rig.crash();
    await this.rest();
  }

  private async restore({ name, way, death, after }: Extract<Step, { op: 'restore' }>): Promise<void> {
    const { rig, model } = this;
    await this.rest(); // what nobody has looked at can't be told from another history's
    rig.pass(1_001); // of a row, what it is within a second of its last edit may be passed over
    const put = () => {
      if (rig.restore(name, way)) model.changed(true);
    };
    if (death === 'before' || death === 'twice') await rig.crash();
    if (death === 'while down') return rig.crash(0, put);
    put();
    if (death !== 'after' && death !== 'twice') return;
    rig.poke();
    await sleep(after);
    await rig.crash();
  }

  private edit(back: number, to: string | null, address: string | undefined): void {
    const id = this.idAt(back);
    if (id === undefined) return;
    const action = to ?? this.rig.rows().find((row) => row.id === id)?.action;
    this.rig.change(id, action, undefined, address);
    this.model.changed();
  }

  private idAt(back: number): number | undefined {
    return this.rig.rows().at(-1 - back)?.id;
  }
}

it('each version and each failure is delivered once, whatever is edited and restored, and whenever the process crashes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 20 }), async (steps) => {
      const rig = new ShippingRig({ autoincrement: true, fail2ban: true });
      try {
        await rig.start();
        const course = new Course(rig);
        for (const taken of steps) await course.take(taken);
        await course.end();
      } finally {
        await rig.close();
      }
    }),
    { numRuns: RUNS },
  );
}, 3_000_000);
