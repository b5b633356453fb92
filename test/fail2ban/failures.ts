import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';

const classify = createClassifier();

/** A failed login at Postern, as the source reads it from its row; or, by `rawAction` and `category`, another event. */
export function event(changes: Partial<AuditEvent> & { category?: string | null } = {}): AuditEvent {
  const { category = 'auth', ...rest } = changes;
  const rawAction = rest.rawAction ?? 'login_failure';
  const type = classify(rawAction, category);
  return {
    source: 'postern',
    timeline: 1,
    sequence: 4711,
    id: '0123456789abcdef0123456789abcdef',
    time: Date.UTC(2026, 10, 22, 20, 21, 0),
    rawTime: null,
    ingested: Date.UTC(2026, 10, 22, 20, 21, 1),
    type,
    action: type.action,
    rawAction,
    user: { id: null, name: 'admin', email: 'admin@example.org' },
    resource: { type: category, id: null },
    address: '203.0.113.7',
    rawAddress: null,
    server: 'pp1.example.net',
    local: true,
    revisionOf: null,
    details: null,
    ...rest,
  };
}
