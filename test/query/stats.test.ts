import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { StatsTally } from '../../src/query/stats.js';
import { plainEvent } from '../formats/events.js';
import { readBack } from '../support/read-events.js';

function event(action: string): AuditEvent {
  const type = catalog.find((each) => each.action === action) ?? plainEvent.type;
  return readBack(plainEvent, { type, action });
}

const HOUR = 3_600_000;
const START = Date.UTC(2026, 10, 22, 20);

describe('statistics', () => {
  it('statistics have counts per hour, with the failed logins and their addresses', () => {
    const tally = new StatsTally();
    const failure = event('auth.login_failure');
    for (const minutes of [0, 1, 59, 60])
      tally.add(readBack(failure, { time: START + minutes * 60_000, address: '203.0.113.7' }));
    tally.add(
      readBack(event('proxy_host.update'), {
        time: START + 3 * HOUR,
        address: '192.0.2.1',
        server: 'gate-2',
      }),
    );
    tally.add(readBack(failure, { time: null, address: null }));
    const stats = tally.result(10);
    expect(stats.hours).toEqual([
      { name: '2026-11-22T20:00Z', count: 3, failed_logins: 3 },
      { name: '2026-11-22T21:00Z', count: 1, failed_logins: 1 },
      { name: '2026-11-22T23:00Z', count: 1, failed_logins: 0 },
    ]);
    expect(stats.failed_logins).toBe(5);
    expect(stats.offenders).toEqual([{ name: '203.0.113.7', count: 4 }]);
    expect(stats.servers.map(({ name }) => name)).toContain('gate-2');
    expect(stats.undated).toBe(1);
  });

  it('statistics have only counts per day if there are too many hours', () => {
    const tally = new StatsTally();
    for (let hour = 0; hour < 45 * 24 + 1; hour++)
      tally.add(readBack(event('auth.logout'), { time: START + hour * HOUR }));
    const stats = tally.result(10);
    expect(stats.hours).toEqual([]);
    expect(stats.days).toHaveLength(46);
  });
});
