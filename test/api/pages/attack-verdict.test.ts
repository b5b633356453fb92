import { describe, expect, it } from 'vitest';
import { assessAttack, assessDelivery } from '../../../src/api/pages/attack-verdict.js';
import type { LoopStatus } from '../../../src/shipping/loop-status.js';

const NOW = Date.UTC(2026, 10, 22, 20, 21);
const fine: LoopStatus = {
  type: 'syslog',
  delivery_class: 'at least once, acknowledged',
  required: true,
  state: 'waiting for events',
  since: NOW - 600_000,
  cursors: {},
  held_from: {},
  lag_events: 0,
  lag_seconds: 0,
  delivered_total: 1,
  errors_total: 0,
  last_error: null,
  figures: {},
};

describe('the answer to "Am I under attack?"', () => {
  const from = (...counts: number[]) => ({
    failed_logins: counts.reduce((a, b) => a + b, 0),
    offenders: counts.map((count, n) => ({ name: `203.0.113.${n}`, count })),
  });
  it.each([
    ['no failed login', from(), [], 'good', 'Nobody is attacking'],
    ['somebody mistyped', from(2), [], 'note', 'A few failed logins, no attack'],
    ['one over the limit, free', from(9), [], 'bad', 'Under attack'],
    ['one over the limit, banned', from(9), ['203.0.113.0'], 'note', 'Attack blocked'],
    ['one of two banned', from(9, 8), ['203.0.113.0'], 'bad', 'Under attack'],
    ['banned with its network', from(9), ['203.0.113.0/24'], 'note', 'Attack blocked'],
    ['spread over many', from(...Array.from({ length: 30 }, () => 1)), [], 'bad', 'Under attack'],
    ['nobody knows who is banned', from(9), null, 'bad', 'Under attack'],
    ['not counted yet', null, [], 'note', 'Failed logins are still being counted'],
  ] as const)('%s', (_, recent, banned, mood, headline) => {
    const verdict = assessAttack(recent, banned, 5);
    expect([verdict.mood, verdict.headline]).toEqual([mood, headline]);
    expect(verdict.because).toMatch(/\.$/);
  });
});

describe('the answer to "Is the SIEM up to date?"', () => {
  const file: LoopStatus = { ...fine, type: 'file' };
  const down: LoopStatus = {
    ...fine,
    state: 'backing off',
    since: NOW - 420_000,
    lag_events: 12,
    last_error: { message: 'connect ECONNREFUSED', at: NOW },
  };
  it.each([
    ['all well', { audit: file, siem: fine }, 'good', 'The SIEM is up to date'],
    [
      'a little behind',
      { siem: { ...fine, lag_events: 4, lag_seconds: 1 } },
      'good',
      'The SIEM is up to date',
    ],
    ['behind', { siem: { ...fine, lag_events: 4_000, lag_seconds: 300 } }, 'note', 'The SIEM is catching up'],
    ['down', { audit: file, siem: down }, 'bad', "The SIEM can't be reached"],
    ['a file that fails', { audit: { ...down, type: 'file' }, siem: fine }, 'bad', "audit can't be written"],
    ['none', { audit: file }, 'note', 'No SIEM is set up'],
  ] as const)('%s', (_, sinks, mood, headline) => {
    const verdict = assessDelivery(sinks, NOW);
    expect([verdict.mood, verdict.headline]).toEqual([mood, headline]);
  });

  it('the verdict has the error, and says that nothing is lost', () => {
    expect(assessDelivery({ siem: down }, NOW).because).toBe(
      'siem is down for 7 min, 12 events behind: connect ECONNREFUSED. Nothing is lost: delivery resumes when this is fixed.',
    );
  });
});
