import { describe, expect, it } from 'vitest';
import {
  holdsOf,
  limitOf,
  type SinkStanding,
  type Stalls,
  updateStalls,
} from '../../src/retention/sink-holds.js';
import { DAY, NOW } from './retention-fixture.js';

const caughtUp: SinkStanding = { required: true, timeline: 1, upTo: 100, heldFrom: 101, behind: 0 };
const dead: SinkStanding = { required: true, timeline: 1, upTo: 40, heldFrom: 31, behind: 60 };

function days(sinks: ReadonlyArray<Record<string, SinkStanding>>): Stalls {
  let stalls: Stalls = {};
  for (const [day, sink] of sinks.entries()) stalls = updateStalls(stalls, sink, NOW + day * DAY, DAY);
  return stalls;
}

describe('a stalled sink', () => {
  it('a sink is stalled if it has a backlog and its cursor does not move', () => {
    expect(days([{ siem: dead }, { siem: dead }, { siem: dead }])).toEqual({
      siem: { timeline: 1, upTo: 40, since: NOW, stalledMs: 2 * DAY },
    });
  });

  it.each<[string, SinkStanding]>([
    ['makes progress', { ...dead, upTo: 41 }],
    ['reads another history', { ...dead, timeline: 2 }],
  ])('the stalled time restarts when a sink %s', (_, then) => {
    expect(days([{ siem: dead }, { siem: dead }, { siem: then }]).siem?.stalledMs).toBe(0);
  });

  it('a sink without a backlog is not stalled, even if its window needs rows', () => {
    expect(days([{ siem: { ...caughtUp, heldFrom: 1 } }, { siem: { ...caughtUp, heldFrom: 1 } }])).toEqual(
      {},
    );
  });

  it('the stalled time counts only while the daemon runs, and ignores a clock that is set back', () => {
    const stalls = updateStalls({}, { siem: dead }, NOW, 0);
    expect(updateStalls(stalls, { siem: dead }, NOW + 400 * DAY, 60_000).siem?.stalledMs).toBe(60_000);
    expect(updateStalls(stalls, { siem: dead }, NOW - DAY, -5).siem?.stalledMs).toBe(0);
  });
});

describe('rows that sinks hold back', () => {
  const sinks = { audit: caughtUp, siem: dead, udp: { ...dead, required: false, heldFrom: 1 } };

  it('rows are kept from the first one that any required sink still needs', () => {
    const holds = holdsOf(sinks, {}, 90 * DAY);
    expect(holds.map(({ sink, from }) => [sink, from])).toEqual([
      ['siem', 31],
      ['audit', 101],
    ]);
    expect(limitOf(holds, 100)).toBe(31);
  });

  it.each<[string, number, number | null, number]>([
    ['not yet', 89 * DAY, 90 * DAY, 31],
    ['for longer than max_hold, it no longer counts', 90 * DAY, 90 * DAY, 101],
    ['without max_hold, for ever', 9_000 * DAY, null, 31],
  ])('rows kept for a stalled sink: %s', (_, stalledMs, maxHold, limit) => {
    const stalls = { siem: { timeline: 1, upTo: 40, since: NOW, stalledMs } };
    expect(limitOf(holdsOf(sinks, stalls, maxHold), 100)).toBe(limit);
  });

  it('rows that the daemon has not read are kept', () => {
    expect(limitOf([], 7)).toBe(8);
  });
});
