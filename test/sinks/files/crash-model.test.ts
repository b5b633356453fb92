import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import { createFileSink } from '../../../src/sinks/files/file-sink.js';
import { FaultyDisk } from './faulty-disk.js';
import {
  dependencies,
  fail2banConfig,
  fileConfig,
  NOON,
  pairText,
  rolledText,
  rowsIn,
  temporaryDirectory,
} from './files-fixture.js';
import { rowId, ShippingModel } from './shipping-model.js';

type Step =
  | { do: 'rows'; source: 'postern' | 'auditd'; count: number }
  | { do: 'deliver'; source: 'postern' | 'auditd'; most: number; forget: boolean }
  | { do: 'tick'; forget: boolean }
  | { do: 'dieAfter'; changes: number }
  | { do: 'kill' }
  | { do: 'garbage'; text: string }
  | { do: 'wait'; ms: number }
  | { do: 'full'; room: number; truncate: boolean }
  | { do: 'room' }
  | { do: 'failSync'; of: 'contents' | 'names' }
  | { do: 'cut'; kept: number }
  | { do: 'timeline' }
  | { do: 'power'; kept: number; zeroed: number; commits: number };

const source = fc.constantFrom('postern' as const, 'auditd' as const);
const often = (step: fc.Arbitrary<Step>, weight: number) => ({ arbitrary: step, weight });
const common = [
  often(fc.record({ do: fc.constant('rows' as const), source, count: fc.integer({ min: 1, max: 12 }) }), 6),
  often(
    fc.record({
      do: fc.constant('deliver' as const),
      source,
      most: fc.integer({ min: 1, max: 15 }),
      forget: fc.boolean(),
    }),
    10,
  ),
  often(fc.record({ do: fc.constant('tick' as const), forget: fc.boolean() }), 4),
  often(fc.record({ do: fc.constant('dieAfter' as const), changes: fc.integer({ min: 1, max: 12 }) }), 6),
  often(fc.record({ do: fc.constant('kill' as const) }), 2),
  often(
    fc.record({
      do: fc.constant('garbage' as const),
      text: fc.constantFrom('{"@times', '\0\0\0\0', 'x\n', '\n'),
    }),
    1,
  ),
  often(fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1_000, 61_000, 50_000_000) }), 3),
  often(
    fc.record({
      do: fc.constant('full' as const),
      room: fc.integer({ min: 0, max: 3_000 }),
      truncate: fc.boolean(),
    }),
    2,
  ),
  often(fc.record({ do: fc.constant('room' as const) }), 2),
  often(fc.record({ do: fc.constant('timeline' as const) }), 1),
];
const power = [
  often(
    fc.record({
      do: fc.constant('failSync' as const),
      of: fc.constantFrom('contents' as const, 'names' as const),
    }),
    2,
  ),
  often(fc.record({ do: fc.constant('cut' as const), kept: fc.double({ min: 0, max: 1, noNaN: true }) }), 1),
  often(
    fc.record({
      do: fc.constant('power' as const),
      kept: fc.double({ min: 0, max: 1, noNaN: true }),
      zeroed: fc.constantFrom(0, 0, 0.3, 1),
      commits: fc.nat(3),
    }),
    3,
  ),
];

interface Bench {
  readonly model: ShippingModel;
  readonly faults: FaultyDisk;
  readonly time: { now: number };
  /** All that was ever written, in order. */
  text(): string;
  /** The file that garbage goes to. */
  active(): string | null;
  remove(): void;
}

function fileBench(): Bench {
  const directory = temporaryDirectory();
  const faults = new FaultyDisk();
  const { deps, time } = dependencies({ disk: faults.disk });
  const config = fileConfig(directory, { keep: 10_000 });
  const sized = { ...config, roll: { ...config.roll, size: 3_000 } };
  const model = new ShippingModel(
    faults,
    () => createFileSink(sized, deps),
    () => time.now,
    pad,
  );
  const names = (): string[] =>
    fs
      .readdirSync(directory)
      .filter((name) => name.startsWith('audit.'))
      .sort();
  return {
    model,
    faults,
    time,
    text: () => rolledText(directory),
    active: () => {
      const last = names().at(-1);
      return last === undefined ? null : path.join(directory, last);
    },
    remove: () => fs.rmSync(directory, { recursive: true }),
  };
}

function pairBench(): Bench {
  const directory = temporaryDirectory();
  const faults = new FaultyDisk();
  const { deps, time } = dependencies({ disk: faults.disk });
  const config = fail2banConfig(directory);
  const gone: string[] = [];
  const rename = faults.disk.rename;
  faults.disk.rename = (from, to) => {
    const old = fs.existsSync(to) ? fs.readFileSync(to, 'utf8') : '';
    rename(from, to);
    gone.push(old);
  };
  const model = new ShippingModel(
    faults,
    () => createFail2banSink({ ...config, roll: { size: 3_000 } }, { never_ban: [], ipv6_prefix: 128 }, deps),
    () => time.now,
    pad,
  );
  return {
    model,
    faults,
    time,
    text: () => gone.join('') + pairText(directory),
    active: () => null,
    remove: () => fs.rmSync(directory, { recursive: true }),
  };
}

const pad = (sequence: number): string => 'ö'.repeat((sequence * 37) % 300);

async function play(bench: Bench, steps: readonly Step[]): Promise<void> {
  const { model, faults, time } = bench;
  for (const step of steps) {
    if (step.do === 'rows') model.rows[step.source] += step.count;
    else if (step.do === 'deliver') await model.deliver(step.source, step.most, step.forget);
    else if (step.do === 'tick') await model.tick(step.forget);
    else if (step.do === 'dieAfter') faults.untilDeath = step.changes;
    else if (step.do === 'kill') model.die();
    else if (step.do === 'garbage') {
      model.die();
      const file = bench.active();
      if (file !== null) fs.appendFileSync(file, step.text);
    } else if (step.do === 'wait') time.now += step.ms;
    else if (step.do === 'full') {
      faults.room = step.room;
      faults.failTruncate = step.truncate;
    } else if (step.do === 'room') recover(faults);
    else if (step.do === 'failSync') faults.failSync = step.of;
    else if (step.do === 'cut') {
      model.die();
      const file = bench.active();
      if (file !== null) fs.truncateSync(file, Math.floor(fs.statSync(file).size * step.kept));
    } else if (step.do === 'timeline') model.newTimeline();
    else {
      model.losePower(step.commits);
      faults.losePower(() => step);
    }
  }
  recover(faults);
  model.die();
  await model.finish();
}

function recover(faults: FaultyDisk): void {
  faults.room = Number.POSITIVE_INFINITY;
  faults.failTruncate = false;
  faults.failSync = null;
}

/** Row ids by source, as they stand in the files. */
function written(bench: Bench, name: 'postern' | 'auditd'): string[] {
  const { rows, broken } = rowsIn(bench.text());
  expect(broken).toEqual([]);
  return rows.filter((row) => row.source === name).map((row) => row.id);
}

function expected(bench: Bench, name: 'postern' | 'auditd'): string[] {
  return Array.from({ length: bench.model.rows[name] }, (_, i) => rowId(name, i + 1));
}

async function holds(
  make: () => Bench,
  steps: readonly Step[],
  check: (bench: Bench) => void,
): Promise<void> {
  const bench = make();
  try {
    await play(bench, steps);
    check(bench);
  } finally {
    bench.faults.restart();
    bench.remove();
  }
}

const eachOnce = (bench: Bench): void => {
  for (const name of ['postern', 'auditd'] as const)
    expect(written(bench, name)).toEqual(expected(bench, name));
};

/** A clock that is set forward in between makes a failure old: it is not written later, and never twice. */
const eachFreshOnce = (bench: Bench): void => {
  for (const name of ['postern', 'auditd'] as const) {
    const ids = written(bench, name);
    expect(ids).toEqual(expected(bench, name).filter((id) => ids.includes(id) || !bench.model.aged.has(id)));
  }
};

const eachAtLeastOnce = (bench: Bench): void => {
  for (const name of ['postern', 'auditd'] as const) {
    const rows = new Set(written(bench, name));
    expect(expected(bench, name).filter((id) => !rows.has(id))).toEqual([]);
  }
};

const RUNS = Number(process.env.CRASH_RUNS ?? 400);
const steps = (of: typeof common) =>
  fc.array(fc.oneof(...of), { minLength: 5, maxLength: 60, size: 'max' }) as fc.Arbitrary<Step[]>;

describe('whatever happens to the process', () => {
  it('each row is in the rotated files once and in order, whatever happens to the process', {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(steps(common), (plan) => holds(fileBench, plan, eachOnce)),
      { numRuns: RUNS },
    );
  });

  it("each fresh failure is in fail2ban's pair once and in order, whatever happens to the process", {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(steps(common), (plan) => holds(pairBench, plan, eachFreshOnce)),
      { numRuns: RUNS },
    );
  });
});

describe('whatever happens to the power, and when a file is cut by hand', () => {
  it('each row is in the rotated files, without a torn line, after any power loss or truncation', {
    timeout: 600_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(steps([...common, ...power]), (plan) => holds(fileBench, plan, eachAtLeastOnce)),
      { numRuns: RUNS },
    );
  });
});

it('the simulated disk really fails', async () => {
  const bench = fileBench();
  bench.model.rows.postern = 10;
  bench.faults.untilDeath = 3;
  await bench.model.deliver('postern', 10);
  expect(rowsIn(bench.text()).rows).toEqual([]);
  await bench.model.finish();
  eachOnce(bench);
  expect(bench.time.now).toBe(NOON);
  bench.remove();
});
