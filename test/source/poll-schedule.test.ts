import { describe, expect, test } from 'vitest';
import { dueAfterEvent, onEvent, onRead, type PollStep } from '../../src/source/poll-schedule.js';

const rising = (offset: number): PollStep => ({ kind: 'rising', offset });
const trailing = (offset: number): PollStep => ({ kind: 'trailing', offset });

describe('the schedule of reads after a change', () => {
  test.each<[string, PollStep | null, PollStep]>([
    ['at rest: at once', null, rising(0)],
    ['while it climbs: after a millisecond', rising(16), rising(1)],
    ['while it trails: after a millisecond', trailing(16), rising(1)],
  ])('the read after an event %s', (_, rung, next) => {
    expect(onEvent(rung)).toEqual(next);
  });

  test.each<[PollStep, boolean, PollStep | null]>([
    [rising(0), false, rising(1)],
    [rising(1), false, rising(2)],
    [rising(2), false, rising(4)],
    [rising(4), false, rising(8)],
    [rising(8), false, rising(16)],
    [rising(16), false, rising(32)],
    [rising(32), false, rising(64)],
    [rising(256), false, rising(512)],
    [rising(512), false, null],
    [rising(0), true, trailing(16)],
    [rising(32), true, trailing(16)],
    [trailing(16), false, trailing(32)],
    [trailing(32), false, trailing(64)],
    [trailing(512), false, null],
    [trailing(16), true, trailing(16)],
    [trailing(32), true, trailing(16)],
  ])('the step after a read at %o that found rows: %s', (rung, found, next) => {
    expect(onRead(rung, found)).toEqual(next);
  });

  test.each<[string, PollStep, number | null, number]>([
    ['nothing is due', rising(0), null, 100],
    ['a late rung is due', rising(1), 116, 101],
    ['one is due sooner: it is not put off', rising(1), 100.2, 100.2],
  ])('the next read after an event at 100 while %s', (_, rung, pending, due) => {
    expect(dueAfterEvent(rung, 100, pending)).toBe(due);
  });
});
