import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { AuditdError, type ErrorCode } from '../../errors.js';
import { daemonLog } from '../../next-steps.js';
import type { ApiContext } from '../context.js';

/** Problem details, RFC 9457. */
interface ProblemDetails {
  readonly type: 'about:blank' | `urn:postern-auditd:problem:${string}`;
  readonly title: string;
  readonly status: number;
  /** What was found and why it failed, in sentences. */
  readonly detail: string;
  /** The next step, without a full stop, as it may end in a command; left out if there is none. */
  readonly next?: string;
  /** The invalid parameter. */
  readonly parameter?: string;
}

export type Extra = Partial<Pick<ProblemDetails, 'next' | 'parameter' | 'type'>>;

const PROBLEM_TYPE = 'application/problem+json';

export function problemText(status: number, title: string, detail: string, extra: Extra = {}): string {
  const body: ProblemDetails = { type: 'about:blank', title, status, detail, ...extra };
  return `${toSafeJson(body)}\n`;
}

export function problemResponse(
  c: ApiContext,
  status: ContentfulStatusCode,
  title: string,
  detail: string,
  extra: Extra = {},
): Response {
  return c.body(problemText(status, title, detail, extra), status, { 'content-type': PROBLEM_TYPE });
}

const STATUS: Readonly<Partial<Record<ErrorCode, readonly [ContentfulStatusCode, string]>>> = {
  USAGE: [400, 'The request is not valid'],
  NOT_FOUND: [404, 'Not found'],
  CONFLICT: [409, 'Not possible now'],
  QUERY_LIMIT: [503, 'The query took too long'],
  SOURCE_UNUSABLE: [503, "Postern's database can't be read"],
  FAIL2BAN_FAILED: [503, 'fail2ban does not answer'],
  STATE_UNUSABLE: [503, "state.db can't be used"],
  ARCHIVE_FAILED: [503, "Archives are missing or can't be read"],
  ARCHIVE_UNREAD: [503, 'An archive is still being checked'],
  ARCHIVE_BROKEN: [500, 'An archive was changed or is damaged'],
};

/** Failures that may end within seconds, by themselves or because somebody fixes them. */
const PASSING: ReadonlySet<ErrorCode> = new Set([
  'SOURCE_UNUSABLE',
  'FAIL2BAN_FAILED',
  'STATE_UNUSABLE',
  'ARCHIVE_UNREAD',
]);

/** Splits `name: what is wrong with it`, the form in which filters and pages name the parameter that they reject. */
export function splitParameter(what: string): { readonly parameter: string | null; readonly fault: string } {
  const [, parameter = null, fault = what] = /^([a-z_]{1,20}): (.*)$/s.exec(what) ?? [];
  return { parameter, fault };
}

/** Turns an error into a problem. A client learns of a defect only that it happened. */
export function problemOf(c: ApiContext, error: unknown): Response {
  if (!(error instanceof AuditdError))
    return problemResponse(c, 500, 'Internal error', 'This is a defect of postern-auditd.', {
      next: `For details see the log: ${daemonLog()}`,
    });
  const [status, title] = STATUS[error.code] ?? [500, 'The request failed'];
  const { parameter, fault } =
    error.code === 'USAGE' ? splitParameter(error.what) : { parameter: null, fault: error.what };
  if (PASSING.has(error.code)) c.header('retry-after', '5');
  const detail = fault.replace(/^[a-z]/, (letter) => letter.toUpperCase());
  return problemResponse(c, status, title, /[.!?]$/.test(detail) ? detail : `${detail}.`, {
    ...(error.next === null ? {} : { next: error.next }),
    ...(parameter === null ? {} : { parameter }),
    type: `urn:postern-auditd:problem:${error.code.toLowerCase().replaceAll('_', '-')}`,
  });
}
