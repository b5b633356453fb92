import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { formatFail2banLine } from '../../src/formats/fail2ban-line.js';
import { formatEarlierEcs } from '../formats/earlier-ecs.js';

const classify = createClassifier();

/** A line of the pair as earlier releases wrote it: the whole event, and in `source.ip` the network to ban. */
export function earlierLine(of: AuditEvent, banned: string | null = of.address): string {
  const line = formatEarlierEcs(of);
  if (of.address === null || banned === null) return line;
  return line.replace(`"source":{"ip":"${of.address}"}`, `"source":{"ip":"${banned}"}`);
}

/** A line of the pair. @param of has a time and an address */
export function lineOf(of: AuditEvent, banned: string = of.address ?? ''): string {
  return formatFail2banLine(of, of.time ?? 0, banned);
}

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
