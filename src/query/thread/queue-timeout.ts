import { AuditdError } from '../../errors.js';

/** Milliseconds of a clock that all threads share and nobody sets. */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

/** What has not begun by then is not begun: nobody waits for it any more. */
export function waitedTooLong(): AuditdError {
  return new AuditdError(
    'QUERY_LIMIT',
    'The query was not begun: it waited too long behind others. Ask again in a while',
  );
}
