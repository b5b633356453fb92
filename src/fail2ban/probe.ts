import { createClassifier } from '../audit/catalog.js';
import { formatEcs } from '../formats/ecs.js';

/** Documentation addresses (RFC 5737, RFC 3849): whoever is banned by mistake is nobody. */
export const PROBE_ADDRESSES = ['192.0.2.1', '2001:db8::1'] as const;

/**
 * Lines such as the daemon writes for fail2ban: failed logins from PROBE_ADDRESSES. A filter that works finds
 * just these addresses in them.
 *
 * @param now milliseconds since the epoch
 */
export function probeLines(now: number): string[] {
  const action = 'auth.login_failure';
  const type = createClassifier()(action, 'auth');
  return PROBE_ADDRESSES.map((address, at) =>
    formatEcs({
      source: 'postern',
      timeline: 1,
      sequence: at + 1,
      id: '0'.repeat(32),
      time: now,
      rawTime: null,
      ingested: now,
      type,
      action,
      rawAction: action,
      user: { id: null, name: 'probe', email: null },
      resource: { type: 'auth', id: null },
      address,
      rawAddress: null,
      server: 'probe',
      local: true,
      details: null,
    }),
  );
}
