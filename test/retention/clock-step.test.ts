import { describe, expect, it } from 'vitest';
import {
  CLOCK_STEP_MS,
  type ClockLook,
  type ClockNote,
  detectClockStep,
  WAIT_MS,
} from '../../src/retention/clock-step.js';
import { NOW } from './retention-fixture.js';

const H = CLOCK_STEP_MS;

/** Successive readings: hours of the wall clock and of the machine's uptime. */
function waits(...looks: ReadonlyArray<readonly [wall: number, up: number]>): number[] {
  let note: ClockNote | null = null;
  return looks.map(([wall, up]) => {
    const look: ClockLook = { wall: NOW + wall * H, up: up * H };
    note = detectClockStep(note, look);
    return note.wait / H;
  });
}

describe('a clock step', () => {
  it.each<[string, ReadonlyArray<readonly [number, number]>, number[]]>([
    [
      'none',
      [
        [0, 10],
        [1, 11],
        [5, 15],
      ],
      [0, 0, 0],
    ],
    [
      'a small one, by NTP',
      [
        [0, 10],
        [1.9, 11],
      ],
      [0, 0],
    ],
    [
      'forward',
      [
        [0, 10],
        [3, 11],
      ],
      [0, 24],
    ],
    [
      'back',
      [
        [0, 10],
        [-1, 11],
      ],
      [0, 24],
    ],
    [
      'forward by a year, and back',
      [
        [0, 10],
        [8_761, 11],
        [2, 12],
      ],
      [0, 24, 24],
    ],
    [
      "the wait passes with the machine's own time",
      [
        [0, 10],
        [100, 11],
        [110, 21],
        [123, 34],
        [124, 35],
      ],
      [0, 24, 14, 1, 0],
    ],
    [
      'the machine was off for a week',
      [
        [0, 10],
        [168, 0.1],
      ],
      [0, 0],
    ],
    [
      'over a restart of the machine the clock went back',
      [
        [0, 10],
        [-30, 0.1],
      ],
      [0, 24],
    ],
    [
      'the wait goes on over a restart',
      [
        [0, 10],
        [100, 11],
        [150, 2],
      ],
      [0, 24, 22],
    ],
  ])('a clock step: %s', (_, looks, expected) => {
    expect(waits(...looks).map((wait) => Math.round(wait))).toEqual(expected);
  });

  it('a clock step is remembered for as long as runs wait', () => {
    const first = detectClockStep(null, { wall: NOW, up: 0 });
    const stepped = detectClockStep(first, { wall: NOW + 3 * H, up: H });
    expect(stepped).toMatchObject({ step: 2 * H, wait: WAIT_MS });
    expect(detectClockStep(stepped, { wall: NOW + 4 * H, up: 2 * H }).step).toBe(2 * H);
    expect(detectClockStep(stepped, { wall: NOW + 27 * H, up: 25 * H }).step).toBeNull();
  });
});
