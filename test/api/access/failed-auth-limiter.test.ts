import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Failures } from '../../../src/api/access/failed-auth-limiter.js';

const RULE = { failures: 5, withinMs: 600_000 };

describe('failed authentications', () => {
  it('five within ten minutes from one address are five records, enough for a ban', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 5, maxLength: 60 });
    fc.assert(
      fc.property(gaps, (waits) => {
        let now = 0;
        const failures = new Failures(RULE, () => now);
        const came: number[] = [];
        const recorded: number[] = [];
        let banned = Number.NEGATIVE_INFINITY;
        for (const wait of waits) {
          now += wait;
          came.push(now);
          if (failures.note('203.0.113.7').record) recorded.push(now);
          const within = (times: number[]) => times.filter((time) => time > now - RULE.withinMs).length;
          if (within(recorded) >= 5) banned = now;
          if (within(came) >= 5) expect(banned).toBeGreaterThan(now - RULE.withinMs);
        }
      }),
    );
  });

  it('a flood from one address is five rows in ten minutes, and gets Retry-After', () => {
    let now = 1_000_000;
    const failures = new Failures(RULE, () => now);
    let rows = 0;
    let refused = 0;
    for (let n = 0; n < 20_000; n++) {
      now += 10;
      const { record, retryAfter } = failures.note('203.0.113.7');
      if (record) rows++;
      if (retryAfter !== null) {
        refused++;
        expect(retryAfter).toBeGreaterThan(0);
        expect(retryAfter).toBeLessThanOrEqual(600);
      }
    }
    expect([rows, refused]).toEqual([5, 19_995]);
    now += RULE.withinMs;
    expect(failures.note('203.0.113.7')).toEqual({ record: true, retryAfter: null });
  });

  it('a flood does not affect the records of other addresses', () => {
    const failures = new Failures(RULE, () => 0);
    for (let n = 0; n < 100_000; n++) failures.note('203.0.113.7');
    for (let n = 0; n < 5; n++) expect(failures.note('198.51.100.1').record).toBe(true);
  });

  it('ten thousand addresses are recorded five times each; the total is limited', () => {
    const failures = new Failures(RULE, () => 0);
    let rows = 0;
    for (let host = 0; host < 10_000; host++)
      for (let n = 0; n < 6; n++) if (failures.note(`2001:db8::${host.toString(16)}`).record) rows++;
    expect(rows).toBe(50_000);
    for (let host = 0; host < 200_000; host++)
      if (failures.note(`2001:db8:1::${host.toString(16)}`).record) rows++;
    expect(rows).toBe(50_000);
  });
});
