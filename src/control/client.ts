import { request } from 'node:http';
import { AuditdError, asRoot, codeOf, type ErrorCode, isErrorCode } from '../errors.js';
import { daemonCommand, daemonLog } from '../next-steps.js';

/** In the runtime directory of a unit. */
export const SOCKET_NAME = 'control.sock';

/**
 * Sends a request to a running daemon over its control socket and returns the JSON of the answer.
 *
 * @throws AuditdError `NOT_RUNNING` if nobody listens, or with the daemon's own message if it refuses
 */
export function controlRequest(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  more: Readonly<Record<string, string>> = {},
  timeout = 10_000,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      ...more,
      ...(sent === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(sent) }),
    };
    const call = request({ socketPath, method, path, headers, timeout }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        try {
          const answer: unknown = JSON.parse(Buffer.concat(chunks).toString());
          if ((response.statusCode ?? 500) < 400) resolve(answer);
          else reject(refusal(answer));
        } catch (error) {
          reject(
            new AuditdError(
              'NOT_RUNNING',
              `The program that listens on ${socketPath} is not postern-auditd`,
              {
                next: 'Name the socket of the daemon under control: in the configuration',
                cause: error,
              },
            ),
          );
        }
      });
    });
    call.on('timeout', () => call.destroy(new Error(`no answer within ${timeout / 1_000} s`)));
    call.on('error', (error) => reject(unreachable(socketPath, error)));
    call.end(sent);
  });
}

/** Whether a request failed because nobody listens on the socket. */
export function isAbsent(error: unknown): boolean {
  const code = codeOf(error instanceof Error ? error.cause : null);
  return code === 'ENOENT' || code === 'ECONNREFUSED';
}

/** The error code for each status of the API's problem details (api/http/problem.ts). */
const CODE_BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'USAGE',
  404: 'NOT_FOUND',
  409: 'CONFLICT',
};

function refusal(answer: unknown): AuditdError {
  if (typeof answer === 'object' && answer !== null && 'detail' in answer) {
    const status = 'status' in answer ? Number(answer.status) : 0; // problem details of the API
    const next = 'next' in answer && typeof answer.next === 'string' ? answer.next : null;
    // `what` has no full stop where a next step follows.
    const what = next === null ? String(answer.detail) : String(answer.detail).replace(/\.$/, '');
    return new AuditdError(CODE_BY_STATUS[status] ?? 'STATE_UNUSABLE', what, { next });
  }
  const error = typeof answer === 'object' && answer !== null && 'error' in answer ? answer.error : null;
  if (typeof error !== 'object' || error === null) {
    return new AuditdError('STATE_UNUSABLE', 'The daemon refused the request and gave no reason', {
      next: `See its messages: ${daemonLog()}`,
    });
  }
  const { code, message, what, next } = error as Record<string, unknown>;
  return new AuditdError(
    isErrorCode(code) ? code : 'STATE_UNUSABLE',
    String(what ?? message), // a daemon of an earlier version sends the message alone
    { next: typeof next === 'string' ? next : null },
  );
}

function unreachable(path: string, error: Error): AuditdError {
  const code = codeOf(error);
  const next =
    code === 'EACCES'
      ? `Run the command ${asRoot()}, or join the group postern-auditd: the socket is not for every user`
      : `Check that the daemon runs: ${daemonCommand('status')}`;
  return new AuditdError('NOT_RUNNING', `No answer from ${path} (${code ?? error.message})`, {
    next,
    cause: error,
  });
}
