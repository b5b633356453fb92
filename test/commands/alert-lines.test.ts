import { describe, expect, it } from 'vitest';
import type { AlertsStatus } from '../../src/alerts/alerts-status.js';
import { alertLines } from '../../src/commands/status/alert-lines.js';

const none = { enabled: true, raised_total: 0, held_back_total: 0, last: null };
const quiet: AlertsStatus = {
  rules: { 'alert.new_network': none, 'alert.deletions': { ...none, enabled: false } },
  remembered: { counted: 3, networks: 12_000, alerts: 0, changes: 0, held_back: 0 },
  networks_learned: true,
  error: null,
};

describe('status says of alerts', () => {
  it('that there were none, and what is remembered', () => {
    expect(alertLines(quiet, 0, false)).toEqual(['alerts: none since the start']);
    expect(alertLines(quiet, 0, true)[1]).toBe(
      '  remembered: counted 3, networks 12,000, alerts 0, changes 0, held back 0; turned off: deletions',
    );
  });

  it('how many of each kind, which was the last, what was held back, and what is wrong', () => {
    const rules = {
      'alert.new_network': {
        ...none,
        raised_total: 10,
        held_back_total: 27,
        last: { id: 'auditd:9', at: 40_000 },
      },
      'alert.deletions': { ...none, raised_total: 1, last: { id: null, at: 10_000 } },
    };
    expect(
      alertLines({ ...quiet, rules, networks_learned: false, error: 'no space' }, 100_000, false),
    ).toEqual([
      'alerts: 10 new_network, 1 deletions since the start, 27 more counted, not raised one by one, ' +
        'last alert.new_network 60 s ago (auditd:9), still learning networks, NOT RECORDED: no space',
    ]);
  });
});
