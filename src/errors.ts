import { existsSync } from 'node:fs';

/** What went wrong, in a word that programs may rely on. */
export type ErrorCode =
  | 'CONFIG_INVALID'
  | 'CONFIG_MISSING'
  | 'SOURCE_UNUSABLE'
  | 'STATE_UNUSABLE'
  | 'STATE_NEWER'
  | 'LOCKED'
  | 'NOT_RUNNING'
  | 'NOT_FOUND'
  | 'SINK_FAILED'
  | 'FAIL2BAN_FAILED'
  | 'QUERY_LIMIT'
  | 'PURGE_FAILED'
  | 'ARCHIVE_FAILED'
  | 'ARCHIVE_BROKEN'
  | 'ARCHIVE_UNREAD'
  | 'OUTPUT_FAILED'
  | 'NOT_INSTALLED'
  | 'USAGE';

/**
 * The one error of this program: a code for programs, a message for people that ends in the next step,
 * and the cause. Thrown low, reported once, high.
 */
export class AuditdError extends Error {
  override readonly name = 'AuditdError';
  /** Of several problems that were found at once, each in one line, the first one first. */
  readonly problems: readonly string[];

  /**
   * @param code what kind of failure
   * @param message one or two sentences: what failed, where, what to do next
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    options: { cause?: unknown; problems?: readonly string[] } = {},
  ) {
    const { problems, ...rest } = options;
    super(message, rest);
    this.problems = problems ?? [];
  }
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

/** Whether the system denied it for lack of rights. */
export function isDenied(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EACCES' || code === 'EPERM';
}

/** How to have root's rights here: not every host has sudo. */
export function asRoot(): string {
  return ['/usr/bin/sudo', '/bin/sudo', '/usr/local/bin/sudo'].some((path) => existsSync(path))
    ? 'with sudo'
    : 'as root (su -)';
}
