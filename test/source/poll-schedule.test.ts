import { describe, expect, test } from 'vitest';
import { dueAfterEvent, onEvent, onLook, type PollStep } from '../../src/source/poll-schedule.js';

const climbing = (offset: number): PollStep => ({ kind: 'climbing', offset });
const trailing = (offset: number): PollStep => ({ kind: 'trailing', offset });

describe('when to look after a change', () => {
  test.each<[string, PollStep | null, PollStep]>([
    ['at rest: at once', null, climbing(0)],
    ['while it climbs: after a millisecond', climbing(16), climbing(1)],
    ['while it trails: after a millisecond', trailing(16), climbing(1)],
  ])('an event %s', (_, rung, next) => {
    expect(onEvent(rung)).toEqual(next);
  });

  test.each<[PollStep, boolean, PollStep | null]>([
    [climbing(0), false, climbing(1)],
    [climbing(1), false, climbing(2)],
    [climbing(2), false, climbing(4)],
    [climbing(4), false, climbing(8)],
    [climbing(8), false, climbing(16)],
    [climbing(16), false, climbing(32)],
    [climbing(32), false, climbing(64)],
    [climbing(256), false, climbing(512)],
    [climbing(512), false, null],
    [climbing(0), true, trailing(16)],
    [climbing(32), true, trailing(16)],
    [trailing(16), false, trailing(32)],
    [trailing(32), false, trailing(64)],
    [trailing(512), false, null],
    [trailing(16), true, trailing(16)],
    [trailing(32), true, trailing(16)],
  ])('a look at %o that found rows: %s', (rung, found, next) => {
    expect(onLook(rung, found)).toEqual(next);
  });

  test.each<[string, PollStep, number | null, number]>([
    ['nothing is due', climbing(0), null, 100],
    ['a late rung is due', climbing(1), 116, 101],
    ['one is due sooner: it is not put off', climbing(1), 100.2, 100.2],
  ])('an event at 100 while %s', (_, rung, pending, due) => {
    expect(dueAfterEvent(rung, 100, pending)).toBe(due);
  });
});
