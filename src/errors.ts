import { existsSync } from 'node:fs';

/** Kinds of failures. Programs may rely on them. */
const ERROR_CODES = [
  'CONFIG_INVALID',
  'CONFIG_MISSING',
  'SOURCE_UNUSABLE',
  'STATE_UNUSABLE',
  'STATE_NEWER',
  'LOCKED',
  'NOT_RUNNING',
  'NOT_FOUND',
  'SINK_FAILED',
  'FAIL2BAN_FAILED',
  'QUERY_LIMIT',
  'PURGE_FAILED',
  'ARCHIVE_FAILED',
  'ARCHIVE_BROKEN',
  'ARCHIVE_UNREAD',
  'OUTPUT_FAILED',
  'NOT_INSTALLED',
  /** The request itself is wrong: it never succeeds. */
  'USAGE',
  /** The request is valid, but not now: something else is running, or a precondition is missing. */
  'CONFLICT',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export function isErrorCode(text: unknown): text is ErrorCode {
  return (ERROR_CODES as readonly unknown[]).includes(text);
}

/**
 * The one error of this program: a code for programs, what failed and where for people, the next step, and the cause.
 * Thrown low, reported once, high.
 */
export class AuditdError extends Error {
  override readonly name = 'AuditdError';
  /** What failed, and where: one sentence without its full stop, or several lines. */
  readonly what: string;
  /** What to do next, a sentence without its full stop; null if there is nothing to do. */
  readonly next: string | null;
  /** If several problems were found at once: all of them, one line each, in order. */
  readonly problems: readonly string[];
  /** How long a receiver asked to wait before the next attempt, in milliseconds; null if it did not. */
  readonly retryAfterMs: number | null;

  /**
   * @param code the kind of failure
   * @param what becomes `message`, together with `next`
   */
  constructor(
    readonly code: ErrorCode,
    what: string,
    options: {
      next?: string | null;
      cause?: unknown;
      problems?: readonly string[];
      retryAfterMs?: number | null;
    } = {},
  ) {
    const { next = null, problems = [], retryAfterMs = null, ...rest } = options;
    super(explained(what, next), rest);
    this.what = what;
    this.next = next;
    this.problems = problems;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What happened, and the next step; null if there is nothing to do. */
export interface Diagnosis {
  readonly what: string;
  readonly next: string | null;
}

/** What happened and the next step, apart. */
export function diagnosisOf(error: unknown): Diagnosis {
  return error instanceof AuditdError
    ? { what: error.what, next: error.next }
    : { what: messageOf(error), next: null };
}

/** What happened and the next step in one text. */
export function explained(what: string, next: string | null): string {
  if (next === null) return what;
  return what.includes('\n') ? `${what}\n${next}` : `${what}. ${next}`;
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system or SQLite error (`ENOSPC`, `SQLITE_BUSY`), or null. */
export function codeOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** Whether the system denied access. */
export function isDenied(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EACCES' || code === 'EPERM';
}

/** How to become root on this host: not every host has sudo. */
export function asRoot(): string {
  return ['/usr/bin/sudo', '/bin/sudo', '/usr/local/bin/sudo'].some((path) => existsSync(path))
    ? 'with sudo'
    : 'as root (su -)';
}
