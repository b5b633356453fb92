import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { AuditdError, codeOf, messageOf } from '../../errors.js';

/** Answers of JetStream that call for something to be done (its error codes). */
const API: Readonly<Record<number, string>> = {
  [JetStreamApiCodes.StreamNotFound]: 'Create it with: postern-auditd fleet init',
  [JetStreamApiCodes.JetStreamNotEnabledForAccount]: 'Enable JetStream for this account at the servers',
  10077: 'The stream is full: raise its limits, or let the hub catch up',
  10047: 'The servers have no disk space left for streams: free some',
  10023: 'The servers have no resources left for streams: raise max_file at the servers',
};

const LOOK = 'Check the log of the NATS servers; the connection is retried';

/** What went wrong with NATS, and what to do next. An `AuditdError` stays as it is. */
export function natsError(where: string, error: unknown): AuditdError {
  if (error instanceof AuditdError) return error;
  const [what, next] = meaning(error);
  return new AuditdError('SINK_FAILED', `${where}: ${what}`, { next, cause: error });
}

/** The operation was aborted and is not waited for. */
export function natsAborted(where: string): AuditdError {
  return new AuditdError('SINK_FAILED', `${where}: aborted`, { next: 'The sink retries' });
}

function meaning(error: unknown): [string, string] {
  if (error instanceof JetStreamApiError) return [messageOf(error), API[error.code] ?? LOOK];
  const name = error instanceof Error ? error.name : '';
  const inner = error instanceof Error ? error.cause : null;
  const cause = inner ?? error;
  if (error instanceof errors.PermissionViolationError || cause instanceof errors.PermissionViolationError) {
    const violation = error instanceof errors.PermissionViolationError ? error : cause;
    return [messageOf(violation), 'Give this user the permissions of docs/guide/FLEET.md'];
  }
  if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError)
    return [
      `the login was refused (${messageOf(error)})`,
      'Check credentials, nkey, token or user and password',
    ];
  if (name === 'JetStreamNotEnabled' || error instanceof errors.NoRespondersError)
    return [
      'no server accepts the message: the stream does not exist, or has no leader now',
      'Wait for the servers of the cluster, or create the stream with: postern-auditd fleet init',
    ];
  if (error instanceof errors.TimeoutError) return ['no answer in time', LOOK];
  if (error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError)
    return ['the connection has ended', 'The sink reconnects'];
  const code = codeOf(cause) ?? codeOf(error);
  if (code === 'ECONNREFUSED' || /CONNECTION_REFUSED|ECONNREFUSED/.test(messageOf(error)))
    return ['no server answers', 'Start the NATS servers, or correct servers'];
  return [messageOf(error), LOOK];
}
