import { AuditdError, type ErrorCode, explained, isErrorCode, messageOf } from '../errors.js';
import type { Waiting } from '../source/source.js';

/** What failed and the next step, apart. */
export interface Problem {
  readonly what: string;
  /** Null if no action is needed. */
  readonly next: string | null;
}

/** Both parts as one text. */
export function explainedProblem(problem: Problem | null): string | null {
  return problem === null ? null : explained(problem.what, problem.next);
}

/** An error as plain data, for another thread or process. */
export interface ErrorParts extends Problem {
  /** Null for an error that is not ours. */
  readonly code: ErrorCode | null;
}

export function toErrorParts(error: unknown): ErrorParts {
  if (!(error instanceof AuditdError)) return { code: null, what: messageOf(error), next: null };
  const { code, what, next } = error;
  return { code, what, next };
}

/** The error passed to `toErrorParts`, without its cause. */
export function fromErrorParts({ code, what, next }: ErrorParts): Error {
  return isErrorCode(code) ? new AuditdError(code, what, { next }) : new Error(what);
}

export function sourceUnusable({ what, next }: Pick<Waiting, 'what' | 'next'>): AuditdError {
  return new AuditdError('SOURCE_UNUSABLE', what, { next });
}
