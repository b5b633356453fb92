import { AuditdError } from '../errors.js';

/** @param next the next step; null if the sink retries and no action is needed */
export function sinkFailed(what: string, next: string | null, cause?: unknown): AuditdError {
  return new AuditdError('SINK_FAILED', what, cause === undefined ? { next } : { next, cause });
}
