import { formatFail2banLine } from '../formats/fail2ban-line.js';

/** Documentation addresses (RFC 5737, RFC 3849): a ban by mistake concerns nobody. */
export const PROBE_ADDRESSES = ['192.0.2.1', '2001:db8::1'] as const;

/**
 * Lines as the daemon writes them for fail2ban: failed logins from PROBE_ADDRESSES. A working filter finds
 * exactly these addresses.
 *
 * @param now milliseconds since the epoch
 */
export function probeLines(now: number): string[] {
  return PROBE_ADDRESSES.map((address, at) =>
    formatFail2banLine(
      { source: 'postern', timeline: 1, sequence: at + 1, id: '0'.repeat(32), revisionOf: null },
      now,
      address,
    ),
  );
}
