import { describe, expect, it } from 'vitest';
import { Entries } from '../../../src/api/pages/entries.js';
import { relatedIds } from '../../../src/api/pages/related.js';
import type { Entry } from '../../../src/query/entry.js';
import { entryOf } from '../../../src/query/entry.js';
import { readRow } from '../../support/read-events.js';

function alert(related: unknown, source: 'auditd' | 'postern' = 'auditd'): Entry {
  const details = JSON.stringify({ failures: 5, related });
  return entryOf(
    readRow(
      {
        created_at: '2026-11-22 20:21:00',
        action: 'login_after_failures',
        resource_type: 'alert',
        user_name: 'jan',
        details,
      },
      { source },
    ),
  );
}

describe('the entries that an alert rests on', () => {
  it('are the ids that it names', () => {
    expect(relatedIds(alert(['postern:4711', 'auditd:12']))).toEqual(['postern:4711', 'auditd:12']);
  });

  it('are links on the page', () => {
    const props = { entries: [alert(['postern:4711'])], written: {}, now: 0, servers: false };
    const page = String(Entries(props));
    expect(page).toContain('href="/api/audit-log/postern%3A4711"');
  });

  it('are none where a row of Postern claims to be an alert, or an id is not one', () => {
    expect(relatedIds(alert(['postern:4711'], 'postern'))).toEqual([]);
    expect(relatedIds(alert(['javascript:1', 'postern:1?x', 4711, '../x', 'postern:12']))).toEqual([
      'postern:12',
    ]);
    expect(relatedIds(alert('postern:1'))).toEqual([]);
  });
});
