import { expect, it } from 'vitest';
import { parseTime } from '../../src/audit/time.js';
import { isWritten } from '../../src/query/written.js';
import Database from '../../src/sqlite.js';

const two = (number: number) => String(number).padStart(2, '0');
const upTo = (most: number) => Array.from({ length: most + 1 }, (_, number) => two(number));
const FORM = /^....-..-.. ..:..:..$/s;

it('SQL takes for a time what parseTime does, of all that looks so, and nothing else', () => {
  const db = new Database(':memory:');
  const asked = db.prepare(`SELECT coalesce(${isWritten('c')}, 0) FROM (SELECT ? AS c)`).pluck();
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
  }
  db.close();
});
