import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTime } from '../../src/audit/time.js';
import { isTimeZone, TimeZone } from '../../src/audit/time-zone.js';

const utc = (text: string) => new Date(text).getTime();
const inZone = (text: unknown, zone: string) => parseTime(text, TimeZone.of(zone));

describe('times without a zone, if one is configured', () => {
  it.each<[string, unknown, string]>([
    ['Europe/Berlin', '2026-11-30 13:00:00', '2026-11-30T12:00:00Z'],
    ['Europe/Berlin', '2026-07-01 14:00:00', '2026-07-01T12:00:00Z'],
    ['Europe/Berlin', '2026-07-01 14:00', '2026-07-01T12:00:00Z'],
    ['Europe/Berlin', '2026-07-01T14:00:00.250', '2026-07-01T12:00:00.250Z'],
    ['Europe/Berlin', '20260701T140000', '2026-07-01T12:00:00Z'],
    // The hour skipped on 29 March is read with the offset before the change.
    ['Europe/Berlin', '2026-03-29 01:59:59', '2026-03-29T00:59:59Z'],
    ['Europe/Berlin', '2026-03-29 02:00:00', '2026-03-29T01:00:00Z'],
    ['Europe/Berlin', '2026-03-29 02:30:00', '2026-03-29T01:30:00Z'],
    ['Europe/Berlin', '2026-03-29 03:00:00', '2026-03-29T01:00:00Z'],
    // The hour repeated on 25 October is the first one.
    ['Europe/Berlin', '2026-10-25 01:59:59', '2026-10-24T23:59:59Z'],
    ['Europe/Berlin', '2026-10-25 02:00:00', '2026-10-25T00:00:00Z'],
    ['Europe/Berlin', '2026-10-25 02:59:59', '2026-10-25T00:59:59Z'],
    ['Europe/Berlin', '2026-10-25 03:00:00', '2026-10-25T02:00:00Z'],
    ['Asia/Kolkata', '2026-11-30 17:30:00', '2026-11-30T12:00:00Z'],
    ['America/New_York', '2026-11-30 07:00:00', '2026-11-30T12:00:00Z'],
    // A change by half an hour, and one within an hour.
    ['Australia/Lord_Howe', '2026-10-04 01:59:59', '2026-10-03T15:29:59Z'],
    ['Australia/Lord_Howe', '2026-10-04 02:15:00', '2026-10-03T15:45:00Z'],
    ['Australia/Lord_Howe', '2026-10-04 02:30:00', '2026-10-03T15:30:00Z'],
    ['Australia/Lord_Howe', '2026-04-05 01:29:59', '2026-04-04T14:29:59Z'],
    ['Australia/Lord_Howe', '2026-04-05 01:30:00', '2026-04-04T14:30:00Z'],
    ['Australia/Lord_Howe', '2026-04-05 02:00:00', '2026-04-04T15:30:00Z'],
    // A whole day was skipped.
    ['Pacific/Apia', '2011-12-29 23:59:59', '2011-12-30T09:59:59Z'],
    ['Pacific/Apia', '2011-12-31 00:00:00', '2011-12-30T10:00:00Z'],
    // An offset that is not a whole number of minutes.
    ['Africa/Monrovia', '1971-06-01 12:00:00', '1971-06-01T12:44:30Z'],
    // The earliest and the latest accepted times, on clocks ahead of UTC and behind it.
    ['Europe/Berlin', '1970-01-01 01:00:00', '1970-01-01T00:00:00Z'],
    ['America/New_York', '1969-12-31 19:00:00', '1970-01-01T00:00:00Z'],
    ['America/New_York', '9999-12-31 18:59:59', '9999-12-31T23:59:59Z'],
    ['UTC', '2026-10-25 02:30:00', '2026-10-25T02:30:00Z'],
    ['Etc/GMT', '2026-10-25 02:30:00', '2026-10-25T02:30:00Z'],
  ])('the local time of %s: %s', (zone, text, instant) => {
    expect(inZone(text, zone)).toBe(utc(instant));
  });

  it.each([
    '2026-10-25T02:30:00Z',
    '2026-10-25 02:30:00+02:00',
    '2026-10-25 02:30:00 +0200 CEST m=+0.1',
    '2026-10-25 02:30:00 UTC',
    '20261025T023000Z',
    1_792_895_400,
    1_792_895_400_000n,
    '1792895400',
    '1792895400000000',
  ])('a time with its own offset ignores the zone: %s', (value) => {
    for (const zone of ['Europe/Berlin', 'Asia/Kolkata', 'America/New_York'])
      expect(inZone(value, zone)).toBe(parseTime(value));
  });

  it.each([
    ['Europe/Berlin', '1970-01-01 00:30:00'],
    ['America/New_York', '9999-12-31 20:00:00'],
    ['Europe/Berlin', '2026-02-30 12:00:00'],
    ['Europe/Berlin', '0000-01-01 00:00:00'],
    ['Europe/Berlin', '2026-11-30 24:00:00'],
    ['Europe/Berlin', '2026-11-30'],
    ['Europe/Berlin', 'yesterday'],
  ])('a time that does not exist in the zone is unreadable: %s, %s', (zone, text) => {
    expect(inZone(text, zone)).toBeNull();
  });

  it('the same text is read by each zone in turn', () => {
    const text = '2026-11-30 13:00:00';
    expect(
      ['Europe/Berlin', 'UTC', 'Asia/Kolkata', 'Europe/Berlin'].map((zone) => inZone(text, zone)),
    ).toEqual(['12:00', '13:00', '07:30', '12:00'].map((time) => utc(`2026-11-30T${time}:00Z`)));
  });
});

const ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Africa/Casablanca',
  'Pacific/Apia',
  'Pacific/Kiritimati',
  'America/Caracas',
  'Asia/Pyongyang',
  'Antarctica/Troll',
];

/** Uses another part of `Intl` than the tested code. */
const clocks = new Map(
  ZONES.map((timeZone) => [
    timeZone,
    new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }),
  ]),
);
const onWall = (instant: number, zone: string) => clocks.get(zone)?.format(instant) ?? '';

it('a local time is the first instant at which a clock in the zone showed it', () => {
  const instant = fc.integer({ min: utc('1970-01-03') / 1_000, max: utc('2040-01-01') / 1_000 });
  fc.assert(
    fc.property(fc.constantFrom(...ZONES), instant, (zone, seconds) => {
      const text = onWall(seconds * 1_000, zone);
      const found = inZone(text, zone) ?? 0;
      expect(onWall(found, zone)).toBe(text);
      expect(found).toBeLessThanOrEqual(seconds * 1_000);
    }),
    { numRuns: Number(process.env.FC_RUNS ?? 300) },
  );
});

it('local times are right in each quarter of an hour around a change of clocks in spring and autumn, in any order', () => {
  for (const zone of ['Europe/Berlin', 'Australia/Lord_Howe', 'Africa/Casablanca']) {
    const seen = new Map<string, number>();
    for (let at = utc('2026-03-01'); at < utc('2026-04-15'); at += 900_000) {
      const text = onWall(at, zone);
      if (!seen.has(text)) seen.set(text, at);
    }
    for (const [text, first] of [...seen].reverse())
      expect([text, inZone(text, zone)]).toEqual([text, first]);
  }
});

it('accepts names of zones, and rejects other names', () => {
  expect(['UTC', 'Europe/Berlin', 'asia/kolkata'].map(isTimeZone)).toEqual([true, true, true]);
  expect(['', 'Europe/Berln', 'local', 'CEST', '../etc/passwd'].map(isTimeZone)).not.toContain(true);
  expect(['UTC', 'Etc/UTC', 'GMT'].map((name) => TimeZone.of(name))).toEqual([null, null, null]);
});
