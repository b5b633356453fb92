import { describe, expect, it } from 'vitest';
import { csvEntry, field } from '../../src/query/csv.js';
import { decodeCursor, encodeCursor } from '../../src/query/cursor.js';
import { isoTime } from '../../src/query/entry.js';
import { EVERYTHING, parseFilter } from '../../src/query/filter.js';

const NOW = Date.UTC(2026, 10, 22, 12);

describe('a filter as text', () => {
  it.each([
    ['2026-11-22', Date.UTC(2026, 10, 22)],
    ['2026-11-22T10:00', Date.UTC(2026, 10, 22, 10)],
    ['2026-11-22T10:00:00+02:00', Date.UTC(2026, 10, 22, 8)],
    ['-7d', NOW - 7 * 86_400_000],
    ['-90m', NOW - 90 * 60_000],
    ['now', NOW],
  ])('a filter has the start %s', (from, time) => {
    expect(parseFilter({ from }, NOW).from).toBe(time);
  });

  it.each([
    [{ from: 'yesterday' }, /^from: found "yesterday"\. Give a date/],
    [{ to: '2026-02-30' }, /^to: found "2026-02-30"/],
    [{ from: '-7' }, /^from: /],
    [{ from: '2026' }, /^from: found "2026"\. Give a date/],
    [{ to: '20261122' }, /^to: found "20261122"\. Give a date/],
    [{ from: '2026-11-22', to: '2026-11-22' }, /^to: .* is not after from.*exclusive/],
    [{ ip: '203.0.113' }, /^ip: found "203\.0\.113"\. Give an address or a network/],
    [{ ip: '203.0.113.0/33' }, /^ip: /],
    [{ outcome: 'Failure' }, /^outcome: found "Failure"\. Give one of success, failure, unknown$/],
    [{ source: 'x' }, /^source: /],
    [{ q: 'x'.repeat(1_001) }, /^q: found 1001 characters/],
  ])('a filter rejects %j with the name of the parameter', (input, message) => {
    expect(() => parseFilter(input, NOW)).toThrow(message);
  });

  it('a filter ignores empty text', () => {
    expect(parseFilter({ user: '', from: '' }, NOW)).toEqual({ ...EVERYTHING, archives: true });
  });
});

describe('a cursor', () => {
  const positions = { postern: { before: 7, snapshot: 9 } };
  const cursor = encodeCursor(EVERYTHING, positions);

  it('a cursor is decoded as it was encoded', () => {
    expect(decodeCursor(cursor, { ...EVERYTHING, from: 5 })).toEqual(positions);
  });

  it.each([
    '',
    'x',
    `${cursor}!`,
    cursor.slice(1),
    'W10',
    Buffer.from('[1,"x",[["postern",-1,2]]]').toString('base64url'),
  ])('a cursor is rejected if it is invalid: %s', (text) => {
    expect(() => decodeCursor(text, EVERYTHING)).toThrow(/^cursor: /);
  });

  it('a cursor is rejected if it belongs to another filter', () => {
    expect(() => decodeCursor(cursor, { ...EVERYTHING, user: 'x' })).toThrow(/another filter/);
  });
});

describe('CSV', () => {
  it.each([
    [null, ''],
    ['', ''],
    ['plain', 'plain'],
    ['a "b", c', '"a ""b"", c"'],
    ['a\r\nb', '"a\r\nb"'],
    ['=1+1', `"'=1+1"`],
    ['+1', `"'+1"`],
    ['-1', `"'-1"`],
    ['@SUM(A1)', `"'@SUM(A1)"`],
    ['\tx', `"'\tx"`],
    ['\rx', `"'\\x0dx"`],
    ['a\rb', 'a\\x0db'],
    ['\u001b[2J\u0007\u009b\u202e', '\\x1b[2J\\x07\\x9b\\u202e'],
    ['=HYPERLINK("http://x","y")', `"'=HYPERLINK(""http://x"",""y"")"`],
    ['x;=1', '"x;=1"'],
  ])('%j becomes %s', (text, written) => {
    expect(field(text)).toBe(written);
  });

  it('CSV has a field for each column', () => {
    const entry = {
      id: 'postern:1',
      created_at: null,
      user: { id: '1', name: null, email: null },
      action: 'a.b',
      resource_type: null,
      resource_id: null,
      details: { a: 1 },
      ip_address: null,
      server: 's',
      outcome: 'success',
    };
    expect(csvEntry(entry)).toBe('postern:1,,1,,,a.b,,,"{""a"":1}",,s,success\r\n');
  });
});

it('IsoTime formats times as a Date does', () => {
  for (const time of [0, 1, 999, 86_399_999, 86_400_000, NOW + 12_345_678, 253_402_300_799_999]) {
    expect(isoTime(time)).toBe(new Date(time).toISOString());
  }
});
