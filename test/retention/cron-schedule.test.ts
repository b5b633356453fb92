import { describe, expect, it } from 'vitest';
import { createSchedule, isDue, RETRY_MS, type RunTimes } from '../../src/retention/cron-schedule.js';

const at = (text: string) => Date.parse(`2026-11-${text}:00Z`);
const daily = createSchedule('17 3 * * *');

describe('when a run is due', () => {
  it.each<[string, string, string]>([
    ['17 3 * * *', '25T03:17', '26T03:17'],
    ['17 3 * * *', '25T03:16', '25T03:17'],
    ['* * * * *', '25T03:16', '25T03:17'],
    ['*/20 6-7 * * *', '25T07:41', '26T06:00'],
  ])('the next run of %s after %s', (pattern, from, next) => {
    expect(createSchedule(pattern).next(at(from))).toBe(at(next));
  });

  it.each<[string, string, string]>([
    ['0 0 29 2 *', '2026-11-25T00:00Z', '2028-02-29T00:00Z'],
    ['0 0 29 2 *', '2028-02-28T23:59Z', '2028-02-29T00:00Z'],
    ['0 0 29 2 *', '2028-02-29T00:00Z', '2032-02-29T00:00Z'],
    ['0 0 29 2 *', '2096-02-29T00:00Z', '2104-02-29T00:00Z'], // 2100 is not a leap year
    ['0 0 29 2 mon', '2072-02-29T00:00Z', '2112-02-29T00:00Z'],
    ['15 4 1 1 *', '2026-01-01T04:15Z', '2027-01-01T04:15Z'],
  ])('the next run of %s after %s, and the last one', (pattern, from, next) => {
    const schedule = createSchedule(pattern);
    const [begin, due] = [Date.parse(from), Date.parse(next)];
    expect(schedule.next(begin)).toBe(due);
    expect(schedule.lastDue(begin, due - 1)).toBeNull();
    expect(schedule.lastDue(begin, due + 300 * 86_400_000)).toBe(due); // however long the daemon was down
  });

  it("a weekday is in UTC, whatever the host's time zone", () => {
    expect(createSchedule('30 23 * * sun').next(at('25T12:00'))).toBe(at('29T23:30'));
  });

  const times: RunTimes = { lastSuccess: at('24T03:17'), lastFailure: null, enabledSince: 0 };
  it.each<[string, Partial<RunTimes>, string, boolean]>([
    ['not yet', {}, '25T03:16', false],
    ['now', {}, '25T03:17', true],
    ['a missed run is made up for', {}, '25T11:00', true],
    ['a missed week is made up for by one run', { lastSuccess: at('10T03:17') }, '25T11:00', true],
    ['not again after it was done', { lastSuccess: at('25T03:17') }, '25T03:18', false],
    [
      'not directly after retention was enabled',
      { lastSuccess: null, enabledSince: at('25T10:00') },
      '25T11:00',
      false,
    ],
    ['the first after that', { lastSuccess: null, enabledSince: at('25T10:00') }, '26T03:17', true],
    ['it failed a moment ago', { lastFailure: at('25T03:18') }, '25T03:20', false],
    ['it failed a while ago', { lastFailure: at('25T03:18') }, '25T03:33', true],
    [
      'the clock was set back behind the last: at its time',
      { lastSuccess: at('29T03:17') },
      '25T03:17',
      true,
    ],
    [
      'the clock was set back behind the last: not all day',
      { lastSuccess: at('29T03:17') },
      '25T11:00',
      false,
    ],
    ['the clock was set back behind a failure', { lastFailure: at('29T03:17') }, '25T03:18', true],
  ])('whether a run is due: %s', (_, changed, now, due) => {
    expect(isDue(daily, { ...times, ...changed }, at(now))).toBe(due);
  });

  it('a failed run is retried after a quarter of an hour', () => expect(RETRY_MS).toBe(900_000));
});
