import fc from 'fast-check';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  it,
  type MockInstance,
  vi,
} from 'vitest';
import { parseTime } from '../../../src/audit/time.js';
import { TimeZone } from '../../../src/audit/time-zone.js';
import { QueryEngine } from '../../../src/query/engine.js';
import { EVERYTHING, type Filter } from '../../../src/query/filter.js';
import type { PageRequest, PageResult } from '../../../src/query/page.js';
import { below, type TimedIdRange, upTo } from '../../../src/query/plan/id-ranges.js';
import { TableInspector } from '../../../src/query/plan/table-schema.js';
import { ZoneMap } from '../../../src/query/plan/zone-map.js';
import { Counter } from '../../../src/query/scan/sql-counter.js';
import { TableScan } from '../../../src/query/scan/table-scan.js';
import { expectAll } from '../answers.js';
import { seconds, Tables } from '../tables.js';

const DAY_S = 86_400;
const START = Date.UTC(2026, 10, 1);
/** `seconds` of 20 days with a change of clocks: forward, back, and by a whole day. */
const SPRING = (Date.UTC(2026, 2, 20) - START) / 1_000;
const AUTUMN = (Date.UTC(2026, 9, 20) - START) / 1_000;
const SAMOA = (Date.UTC(2011, 11, 25) - START) / 1_000;
/** Rows of a zone: a few hundred rows have many. */
const ZONE = 8;

interface Row {
  readonly id: number;
  readonly created_at: unknown;
  readonly action: string;
  readonly user_name: string;
}

/** A time of day, in all the ways that rows have it. */
const FORMS: ReadonlyArray<(at: number) => unknown> = [
  seconds,
  (at) => START + at * 1_000,
  (at) => START / 1_000 + at,
  (at) => String(START / 1_000 + at),
  (at) => Buffer.from(seconds(at)),
  (at) => `${seconds(at).replace(' ', 'T')}.250Z`,
  (at) => seconds(at).replace(' ', 'T'),
  (at) => `${seconds(at + 7_200).slice(0, 16)}+02`, // of 19 characters, too, and of another day
  (at) => `${START / 1_000 + at}.00000000`,
  () => 'yesterday',
  () => '2026-99-99 00:00:00',
  () => '2026-11-03 24:00:00',
  () => '0000-00-00 00:00:00',
  () => 'zzzz-zz-zz zz:zz:zz',
  () => '',
  () => null,
  () => 1e300,
  () => -1,
];

/** Rows of one clock, that is wrong by so much, mostly of one form. */
const run = fc.record({
  rows: fc.integer({ min: 1, max: 3 * ZONE }),
  begin: fc.integer({ min: 0, max: 20 * DAY_S }),
  pace: fc.constantFrom(-60, 0, 1, 60, 3_600),
  gap: fc.constantFrom(1, 1, 1, 3, 1_000),
  forms: fc.oneof(
    { weight: 3, arbitrary: fc.constant([0]) },
    { weight: 2, arbitrary: fc.array(fc.nat(FORMS.length - 1), { minLength: 1, maxLength: 4 }) },
  ),
});
type Run = typeof run extends fc.Arbitrary<infer T> ? T : never;

/** @param base when the clocks were right, in `seconds` */
function rowsOf(runs: readonly Run[], above: number, base: number): Row[] {
  let id = above;
  return runs.flatMap(({ rows, begin, pace, gap, forms }) =>
    Array.from({ length: rows }, (_, at) => {
      id += at === 0 ? gap : 1;
      const form = FORMS[forms[at % forms.length] ?? 0] ?? seconds;
      return {
        id,
        created_at: form(base + Math.max(0, begin + at * pace)),
        action: ['update', 'login'][at % 2] ?? '',
        user_name: `user${at % 3}`,
      };
    }),
  );
}

const moment = fc.integer({ min: 0, max: 20 * DAY_S }).map((at) => START + at * 1_000);
const filter = fc
  .record({
    from: fc.option(moment, { nil: null }),
    to: fc.option(moment, { nil: null }),
    user: fc.option(fc.constantFrom('user1', 'nobody'), { nil: null, freq: 2 }),
    action: fc.option(fc.constantFrom('login', 'update'), { nil: null, freq: 2 }),
  })
  .map((parts): Filter => ({ ...EVERYTHING, source: 'postern', ...parts }));

function expected(rows: readonly Row[], { from, to, user, action }: Filter, timeZone: string): string[] {
  const zone = TimeZone.of(timeZone);
  return rows
    .filter(({ created_at, ...row }) => {
      const time = parseTime(Buffer.isBuffer(created_at) ? created_at.toString() : created_at, zone);
      const isInTime = time !== null && time >= (from ?? 0) && time < (to ?? Number.POSITIVE_INFINITY);
      return (
        (isInTime || (from === null && to === null)) &&
        row.user_name === (user ?? row.user_name) &&
        row.action === (action ?? row.action)
      );
    })
    .map(({ id }) => `postern:${id}`)
    .reverse();
}

function insert(tables: Tables, rows: readonly Row[]): void {
  const sql = 'INSERT INTO audit_log (id, created_at, action, user_name) VALUES (?, ?, ?, ?)';
  const statement = tables.postern.prepare(sql);
  tables.postern.transaction(() => {
    for (const { id, created_at, action, user_name } of rows)
      statement.run(id, created_at, action, user_name);
  })();
}

/** As Postern makes it, but that a time may be missing. */
function loose(tables: Tables, type: string): void {
  const [sql, ...indexes] = tables.postern
    .prepare(
      "SELECT sql FROM sqlite_schema WHERE tbl_name = 'audit_log' AND sql IS NOT NULL ORDER BY type DESC",
    )
    .pluck()
    .all() as string[];
  tables.postern.exec('DROP TABLE audit_log');
  tables.postern.exec((sql ?? '').replace(/created_at\s[^,]*,/, `created_at ${type},`));
  for (const index of indexes) tables.postern.exec(index);
}

function moved(filter: Filter, ms: number): Filter {
  const { from, to } = filter;
  return { ...filter, from: from === null ? null : from + ms, to: to === null ? null : to + ms };
}

it.each([
  [20, { at: 0, before: 10 }],
  [6, { at: 0, before: 6 }],
  [5, { at: 1, before: 3 }],
  [2, { at: 1, before: 2 }],
  [1, null],
])('the first of two ranges below %d is %j', (id, found) => {
  const ranges = [
    { lowest: 5, highest: 9 },
    { lowest: 1, highest: 2 },
  ];
  expect(below(ranges, id)).toEqual(found);
  expect(upTo(ranges, id - 1)[0]?.highest).toBe(found === null ? undefined : found.before - 1);
});

describe.each([
  ['with the indexes', true, 'DATETIME', 'UTC', 0],
  ['without an index', false, '', 'UTC', 0],
  ['without an index', false, '', 'Europe/Berlin', SPRING],
  ['with the indexes', true, 'DATETIME', 'Europe/Berlin', AUTUMN],
  ['with the indexes', true, 'DATETIME', 'Pacific/Apia', SAMOA],
])('a range of time, %s (%s, %s), of %s', (_, indexes, type, timeZone, base) => {
  let tables: Tables;
  beforeAll(() => {
    tables = new Tables({ indexes });
    loose(tables, type);
  });
  afterAll(() => tables.remove());

  it('a range of time finds the same rows as a naive filter, with wrong clocks, while rows are added and deleted', () => {
    const runs = fc.array(run, { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(runs, fc.array(fc.nat(500), { maxLength: 4 })), { minLength: 1, maxLength: 3 }),
        fc.array(filter, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 9, max: 60 }),
        (turns, filters, limit) => {
          tables.clear();
          const engine = new QueryEngine({ ...tables.options({ time_zone: timeZone }), zoneRows: ZONE });
          const shifted = filters.map((one) => moved(one, base * 1_000));
          let rows: Row[] = [];
          const check = (one: Filter) => expectAll(engine, one, expected(rows, one, timeZone), limit);
          try {
            for (const [added, removed] of turns) {
              const more = rowsOf(added, rows.at(-1)?.id ?? 0, base);
              insert(tables, more);
              rows = [...rows, ...more];
              for (const one of shifted) check(one);
              const gone = new Set(removed.map((at) => rows[at]?.id));
              const remove = tables.postern.prepare('DELETE FROM audit_log WHERE id = ?');
              for (const id of gone) remove.run(id ?? 0);
              rows = rows.filter(({ id }) => !gone.has(id));
              for (const one of shifted) check(one);
            }
          } finally {
            engine.close();
          }
        },
      ),
      { numRuns: Number(process.env.FC_RUNS ?? 20) },
    );
  });
});

it('a query counts local times as it shows them, also on a page after the last one', () => {
  const tables = new Tables();
  const engine = new QueryEngine(tables.options({ time_zone: 'America/New_York' }));
  tables.insert([{ created_at: seconds(0) }, { created_at: seconds(3_600) }, { created_at: seconds(7_200) }]);
  // 00:00, 01:00, which the clocks of that night had twice, and 02:00.
  const at = (hour: number) => ({
    ...EVERYTHING,
    source: 'postern' as const,
    from: START + hour * 3_600_000,
  });
  expectAll(engine, at(4), ['postern:3', 'postern:2', 'postern:1'], 1);
  expectAll(engine, at(5), ['postern:3', 'postern:2'], 1);
  expectAll(engine, at(6), ['postern:3'], 1);
  expectAll(engine, at(8), [], 1);
  engine.close();
  tables.remove();
});

it('a query finds rows in the hour that a change of clocks skips, which sort differently as text', () => {
  const tables = new Tables();
  const engine = new QueryEngine({ ...tables.options({ time_zone: 'Europe/Berlin' }), zoneRows: ZONE });
  const left = Array.from({ length: ZONE }, (_, at) => ({
    created_at: `2026-03-29 ${at % 2 ? '03:00' : '02:30'}:00`,
  }));
  tables.insert(left);
  tables.insert(Array.from({ length: 5 * ZONE }, () => ({ created_at: '2026-03-31 12:00:00' })));
  const [from, to] = [Date.UTC(2026, 2, 29, 1, 10), Date.UTC(2026, 2, 29, 1, 40)];
  const ids = [7, 5, 3, 1].map((id) => `postern:${id}`);
  expectAll(engine, { ...EVERYTHING, source: 'postern', from, to }, ids, 3);
  engine.close();
  tables.remove();
});

/** Without the border between rows that are known to be meant and others. */
function joined(ranges: readonly TimedIdRange[]): TimedIdRange[] {
  const all: TimedIdRange[] = [];
  for (const { lowest, highest } of ranges) {
    const above = all.at(-1);
    if (above?.lowest === highest + 1) all[all.length - 1] = { lowest, highest: above.highest };
    else all.push({ lowest, highest });
  }
  return all;
}

describe('the zone map', () => {
  const ROWS = 400;
  let tables: Tables;
  let now: number;
  let map: ZoneMap;
  let table: TableInspector;
  let isWhole: boolean;
  let inTime: readonly TimedIdRange[];
  beforeEach(() => {
    tables = new Tables();
    now = 0;
    map = new ZoneMap({ rows: ZONE, clock: () => now });
    table = new TableInspector(tables.options());
    tables.insert(minutes(0, ROWS));
  });
  afterEach(() => tables.remove());

  const minutes = (from: number, count: number) =>
    Array.from({ length: count }, (_, at) => ({ created_at: seconds((from + at) * 60) }));
  const hour = { from: START + 2 * 3_600_000, to: START + 3 * 3_600_000 };

  function ranges(until: number | null = Number.POSITIVE_INFINITY) {
    const highest = Number(tables.postern.prepare('SELECT max(id) FROM audit_log').pluck().get());
    const place = { highest, snapshot: highest };
    const found = map.ranges(tables.postern, table.inspect(tables.postern), hour, place, until);
    isWhole = found.isWhole;
    inTime = found.ranges.filter((range) => range.isInTime);
    return joined(found.ranges);
  }

  it('the zone map knows whether all rows of the newest zones match', () => {
    ranges();
    // Of 121 to 180 those zones that stand in the hour as a whole, three of them.
    expect(inTime).toEqual([{ lowest: 153, highest: 176, isInTime: true }]);
    ranges(null);
    expect(inTime).toEqual([{ lowest: 153, highest: 176, isInTime: true }]);
  });

  const WITHOUT_162 = [
    { lowest: 169, highest: 176, isInTime: true },
    { lowest: 153, highest: 160, isInTime: true },
  ];
  it.each([
    ["'2026-11-01 02:41:60'", 'is not a time', WITHOUT_162],
    ['NULL', 'is missing', WITHOUT_162],
    ["'2026-11-01T02:41:00Z'", 'is written otherwise', [{ lowest: 153, highest: 176, isInTime: true }]],
    [
      "'2026-11-01T12:41:00Z'",
      'is of another hour',
      [WITHOUT_162[0], { lowest: 145, highest: 160, isInTime: true }],
    ],
  ])('the zone map lets a zone with %s be counted row by row or not: it %s', (value, _, zones) => {
    loose(tables, 'DATETIME');
    tables.insert(minutes(0, ROWS));
    tables.postern.exec(`UPDATE audit_log SET created_at = ${value} WHERE id = 162`);
    ranges();
    expect(inTime).toEqual(zones);
  });

  it('the zone map excludes rows that can not match, wherever a clock was wrong', () => {
    expect(ranges()).toEqual([{ lowest: 121, highest: 184 }]);
    tables.insert(minutes(130, 3)); // late
    expect(ranges()).toEqual([
      { lowest: 401, highest: 403 },
      { lowest: 121, highest: 184 },
    ]);
    tables.insert(minutes(900, 30));
    expect(ranges()).toEqual([
      { lowest: 433, highest: 433 }, // not yet a zone
      { lowest: 401, highest: 408 },
      { lowest: 121, highest: 184 },
    ]);
  });

  it('the zone map is built in steps, each continuing the last', () => {
    const highest = ROWS;
    for (let steps = 1; steps < ROWS / ZONE; steps++) {
      const [rest] = ranges(Number.NEGATIVE_INFINITY);
      expect([rest?.highest, isWhole]).toEqual([highest, false]); // what is not read may be meant
    }
    expect(ranges(Number.NEGATIVE_INFINITY)).toEqual([{ lowest: 121, highest: 184 }]);
    expect(isWhole).toBe(true);
  });

  describe('of a page', () => {
    let asked: MockInstance<ZoneMap['ranges']>;
    beforeEach(() => {
      asked = vi.spyOn(ZoneMap.prototype, 'ranges');
    });
    afterEach(() => void vi.restoreAllMocks());

    const isMade = () => asked.mock.calls.some(([, , , , until]) => until !== null);

    function page(from: number, request: Partial<PageRequest>): PageResult {
      const engine = new QueryEngine({ ...tables.options(), zoneRows: ZONE });
      const filter = { ...EVERYTHING, from: START + from * 60_000 };
      const shared = { filter, page: 1, limit: 10, cursor: null, count: 'some', timeLimit: 1e9 } as const;
      try {
        return engine.page({ ...shared, ...request });
      } finally {
        engine.close();
      }
    }

    it('the zone map is not built without a range of time, nor if the newest rows are enough', () => {
      expect(ranges(null)).toEqual([{ lowest: 1, highest: ROWS }]);
      expect(isWhole).toBe(false);
      tables.insert([{ created_at: seconds(0) }], tables.state);
      vi.spyOn(performance, 'now').mockReturnValue(0); // all of it is quick
      expect(page(300, { count: 'none' }).entries).toHaveLength(10);
      expect(page(300, {}).total).toBe(100);
      expect(page(300, { page: 9 }).entries.map(({ id }) => id)[0]).toBe('postern:320');
      expect(isMade()).toBe(false);
    });

    it.each([
      ['rows', 1, 'none'],
      ['rows of a later page', 9, 'none'],
      ['rows to count', 1, 'some'],
      ['rows to count, all of them', 9, 'all'],
    ] as const)('the zone map is built if %s are not found soon', (_, number, count) => {
      const request = { page: number, count };
      const expected = page(300, request);
      let now = 0;
      vi.spyOn(performance, 'now').mockImplementation(() => {
        now += 45; // more than a step may take
        return now;
      });
      // In a table of this size one step would be enough.
      const { step } = TableScan.prototype;
      const { count: counted } = Counter.prototype;
      vi.spyOn(TableScan.prototype, 'step').mockImplementation(function (this: TableScan, ...args) {
        if (isMade() || count !== 'none') step.apply(this, args);
      });
      vi.spyOn(Counter.prototype, 'count').mockImplementation(function (this: Counter, ...args) {
        return isMade() ? counted.apply(this, args) : 0;
      });
      expect(page(300, request)).toEqual(expected);
      expect(isMade()).toBe(true);
    });
  });

  const late = "UPDATE audit_log SET created_at = '2026-11-01 02:30:00' WHERE id = 10";
  it.each<readonly [string, () => void]>([
    ['is ten minutes old', () => (now = 600_001)],
    ['the highest id went down', () => tables.postern.exec(`DELETE FROM audit_log WHERE id = ${ROWS}`)],
    [
      'ids were given a second time',
      () => {
        tables.postern.exec('DELETE FROM audit_log WHERE id > 390');
        tables.postern.exec("UPDATE sqlite_sequence SET seq = 390 WHERE name = 'audit_log'");
        tables.insert(minutes(500, 40));
      },
    ],
    ['the table is another', () => tables.postern.exec('ALTER TABLE audit_log ADD COLUMN more')],
  ])('the zone map is rebuilt when %s', (_, change) => {
    ranges();
    tables.postern.exec(late);
    expect(ranges()).toEqual([{ lowest: 121, highest: 184 }]);
    change();
    expect(ranges().at(-1)).toEqual({ lowest: 9, highest: 16 });
  });

  it('the zone map is complete if it lacks only the last few rows, with any gaps', () => {
    tables.insert(minutes(500, 1).map((row) => ({ id: ROWS + 3 * ZONE, ...row })));
    ranges(null);
    expect(isWhole).toBe(false);
    ranges();
    ranges(null);
    expect(isWhole).toBe(true);
    tables.insert(minutes(501, ZONE));
    ranges(null);
    expect(isWhole).toBe(false);
  });

  it('the zone map is not built for a small table or a view', () => {
    tables.clear();
    tables.insert(minutes(0, 3 * ZONE));
    expect(ranges(Number.NEGATIVE_INFINITY)).toEqual([{ lowest: 1, highest: 3 * ZONE }]);
    tables.insert(minutes(0, 9 * ZONE));
    tables.postern.exec('ALTER TABLE audit_log RENAME TO t; CREATE VIEW audit_log AS SELECT * FROM t');
    expect(ranges(Number.NEGATIVE_INFINITY)).toEqual([{ lowest: 1, highest: 12 * ZONE }]);
  });
});
