import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Health } from '../../src/shipping/loop-health.js';

let now: number;
let said: string[];
let health: Health;

beforeEach(() => {
  now = 1_000_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  said = [];
  const log = pino({}, { write: (line: string) => said.push((JSON.parse(line) as { msg: string }).msg) });
  health = new Health('siem', () => now, log);
});

afterEach(() => vi.restoreAllMocks());

const fail = () => health.failed(new Error('refused'));

describe('a sink that is down', () => {
  it('a sink that is down is logged once as down, and once as back', () => {
    for (let tries = 0; tries < 5; tries++) fail();
    health.recovered();
    health.recovered();
    expect(said).toEqual(['sink siem is down: refused; retrying', 'sink siem is back']);
    now += 60_000;
    fail();
    expect(health.failures).toBe(1);
    expect(said).toHaveLength(3);
  });

  it('a sink that fails repeatedly is logged once, retries with growing delays, and is back once it stays up', () => {
    for (let round = 1; round <= 20; round++) {
      fail();
      expect(health.failures).toBe(round);
      now += 500;
      health.recovered();
      now += 1_000;
    }
    health.recovered();
    expect(said).toEqual([
      'sink siem is down: refused; retrying',
      'sink siem is back',
      'sink siem is down again: refused; it fails again and again; retrying with growing pauses',
    ]);
    now += 9_000;
    health.recovered();
    expect(said.at(-1)).toBe('sink siem is back');
    health.recovered();
    expect(said).toHaveLength(4);
  });
});
