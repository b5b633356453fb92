import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Ticker } from '../src/ticker.js';

let now: number;
let ticker: Ticker;
let ran: string[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  now = 123.4;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  ticker = new Ticker();
  ran = [];
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Time passes a millisecond at a time; what runs is noted with the time. */
function pass(ms: number): void {
  for (let passed = 0; passed < ms; passed++) {
    now++;
    vi.advanceTimersByTime(1);
  }
}

const note = (name: string) => () => ran.push(`${name} ${Math.round(now / 10) * 10}`);

describe('the ticker', () => {
  it('runs tasks of all periods in one phase, whenever they began, with one timer', () => {
    ticker.every(1_000, note('poll'));
    pass(300);
    ticker.every(5_000, note('tick'));
    pass(400);
    ticker.every(2_500, note('beat'));
    expect(vi.getTimerCount()).toBe(1);
    pass(5_000);
    const times = ['poll 1000', 'poll 2000', 'beat 2500', 'poll 3000', 'poll 4000'];
    expect(ran.slice(0, times.length)).toEqual(times);
    expect(ran.slice(times.length).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      'beat 5000',
      'poll 5000',
      'tick 5000',
    ]);
  });

  it('runs a task once after a pause of the thread or the machine, and in its phase from then on', () => {
    ticker.every(1_000, note('poll'));
    pass(1_000);
    now += 3_600_000;
    pass(3_000);
    expect(ran).toEqual(['poll 1000', 'poll 3602000', 'poll 3603000', 'poll 3604000']);
  });

  it('does not run a task twice for one period where the timer fires early', () => {
    ticker.every(1_000, note('poll'));
    pass(875);
    now -= 0.9; // the clock that timers count from lags behind
    pass(2);
    expect(ran).toEqual(['poll 1000']);
    pass(900);
    expect(ran).toEqual(['poll 1000']);
  });

  it('waits for a time that no timer of Node.js can wait for', () => {
    ticker.every(40 * 86_400_000, note('rare'));
    vi.advanceTimersByTime(2 ** 31);
    expect(ran).toEqual([]);
    now = 40 * 86_400_000;
    vi.advanceTimersByTime(2 ** 31);
    expect(ran).toEqual(['rare 3456000000']);
  });

  it('runs no task that is closed, not even by another in the same turn, and ends with the last', () => {
    const first = ticker.every(1_000, () => second.close());
    const second = ticker.every(1_000, note('second'));
    pass(2_000);
    expect(ran).toEqual([]);
    first.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('runs a task that began within a turn at the next multiple of its period', () => {
    const outer = ticker.every(1_000, () => {
      outer.close();
      ticker.every(500, note('inner'));
    });
    pass(2_000);
    expect(ran).toEqual(['inner 1500', 'inner 2000']);
  });

  it('runs the others where one throws, and throws its error afterwards', () => {
    ticker.every(1_000, () => {
      throw new Error('broken');
    });
    ticker.every(1_000, note('other'));
    expect(() => pass(1_000)).toThrow('broken');
    expect(ran).toEqual(['other 1000']);
    expect(() => pass(1_000)).toThrow('broken');
    expect(ran).toEqual(['other 1000', 'other 2000']);
  });
});
