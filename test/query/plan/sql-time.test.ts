import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseTime } from '../../../src/audit/time.js';
import { TimeZone } from '../../../src/audit/time-zone.js';
import Database from '../../../src/load-sqlite.js';
import { decidedByText, hasSqliteForm } from '../../../src/query/plan/sql-time.js';

const two = (number: number) => String(number).padStart(2, '0');
const upTo = (most: number) => Array.from({ length: most + 1 }, (_, number) => two(number));
const FORM = /^....-..-.. ..:..:..$/s;

it('SQL accepts the same times in its form as parseTime', () => {
  const db = new Database(':memory:');
  const ask = (isUtc: boolean) =>
    db.prepare(`SELECT coalesce(${hasSqliteForm('c', isUtc)}, 0) FROM (SELECT ? AS c)`).pluck();
  const [asked, local] = [ask(true), ask(false)];
  const texts = [
    ...upTo(99).flatMap((n) => [`2026-11-03 ${n}:30:30`, `2026-11-03 12:${n}:30`, `2026-11-03 12:30:${n}`]),
    ...['23', '24'].flatMap((hour) =>
      ['00:00', '00:01', '59:59'].map((rest) => `2026-11-03 ${hour}:${rest}`),
    ),
    ...['1999', '2000', '2024', '2026', '2100'].flatMap((year) =>
      upTo(13).flatMap((month) => upTo(32).map((day) => `${year}-${month}-${day} 12:00:00`)),
    ),
    ...['0000', '0099', '1969', '1970', '9999'].map((year) => `${year}-12-31 23:59:59`),
    ...['1970-01-01 00:00:00', '1969-12-31 23:59:59', '-001-01-01 00:00:00', 'zzzz-zz-zz zz:zz:zz'],
    ...[
      '2026-11-03 1:30:300',
      '2026-11-03 12:30:30 ',
      '2026-11-03T12:30:30',
      '2026-11-03 12:30:30Z',
      'now',
      '',
    ],
    ...['2026-11-03 12:30:3\0', '2026-11-03 12:30:3٣', '2026-11-03 +2:30:30'],
    ...[null, 0, 1_764_115_200, 2_461_000.5, Buffer.from('2026-11-03 12:30:30')],
  ];
  for (const text of texts) {
    const isTime = typeof text === 'string' && FORM.test(text) && parseTime(text) !== null;
    expect([text, asked.get(text) === 1]).toEqual([text, isTime]);
    const isLocal = isTime && !/^(1970-01-01|9999-12-31)/.test(text);
    expect([text, local.get(text) === 1]).toEqual([text, isLocal]);
  }
  db.close();
});

it('SQL decides a local time only if the decision is the same in every zone', () => {
  const db = new Database(':memory:');
  const zones = ['Etc/GMT+12', 'Pacific/Kiritimati', 'Europe/Berlin', 'America/New_York', 'Pacific/Apia'];
  const at = fc.integer({ min: -48, max: 48 }).map((hours) => hours * 1_800_000);
  const base = fc.constantFrom(0, Date.UTC(2026, 9, 25), Date.UTC(2011, 11, 30), Date.UTC(9999, 11, 31, 23));
  const bound = fc.option(at, { nil: null });
  let decided = 0;
  fc.assert(
    fc.property(base, at, bound, bound, fc.constantFrom(...zones), (day, time, from, to, zone) => {
      if (from === null && to === null) return;
      const range = { from: from === null ? null : day + from, to: to === null ? null : day + to };
      const { isDecided, isIn } = decidedByText('c', range, false);
      const text = new Date(day + time).toISOString().slice(0, 19).replace('T', ' ');
      const sql = `SELECT coalesce(${isDecided}, 0), coalesce(${isIn}, 0) FROM (SELECT ? AS c)`;
      const [isSaid, inside] = db.prepare(sql).raw().get(text) as [number, number];
      if (isSaid === 0) return;
      decided++;
      const instant = parseTime(text, TimeZone.of(zone));
      expect(instant).not.toBeNull();
      const { from: least = 0, to: end = null } = range;
      const isMeant = (instant ?? 0) >= (least ?? 0) && (instant ?? 0) < (end ?? Number.POSITIVE_INFINITY);
      expect([text, inside === 1]).toEqual([text, isMeant]);
    }),
    { numRuns: 3_000 },
  );
  expect(decided).toBeGreaterThan(100);
  db.close();
});
