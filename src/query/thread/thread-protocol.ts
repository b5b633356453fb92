import { AuditdError, type ErrorCode } from '../../errors.js';
import type { Chunk, Format } from '../export.js';
import type { Filter } from '../filter.js';
import type { PageRequest, PageResult, PageText } from '../page.js';
import type { Stats } from '../stats.js';

interface Waiting {
  readonly id: number;
  /** The latest start, by the clock `monotonic`. */
  readonly until: number;
}

/** The requests to the query thread. */
export type Ask =
  | (Waiting & { readonly kind: 'page'; readonly request: PageRequest })
  | (Waiting & { readonly kind: 'text'; readonly request: PageRequest; readonly format: Format })
  | (Waiting & {
      readonly kind: 'stats';
      readonly filter: Filter;
      readonly top: number;
      readonly timeLimit: number;
    })
  | {
      readonly id: number;
      readonly kind: 'export';
      readonly filter: Filter;
      readonly format: Format;
      /** A file to write to, open in this process; null: the text is returned. */
      readonly fd: number | null;
    }
  /** The next chunk of an export. */
  | { readonly id: number; readonly kind: 'more' }
  /** Ends an export. */
  | { readonly id: number; readonly kind: 'end' };

export interface Answers {
  readonly page: PageResult;
  readonly text: PageText;
  readonly stats: Stats;
  /** Null after the last chunk. Without bytes if they were written to a file. */
  readonly chunk: Chunk | null;
}

export type WorkerReply =
  | { readonly id: number; readonly value: Answers[keyof Answers] }
  | {
      readonly id: number;
      readonly code: ErrorCode | null;
      readonly message: string;
      readonly next: string | null;
    };

/** Milliseconds of a monotonic clock that all threads share. */
export function monotonic(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

/** The error of a query that did not start in time: its client has given up. */
export function waitedTooLong(): AuditdError {
  return new AuditdError('QUERY_LIMIT', 'The query did not start: it waited too long behind other queries', {
    next: 'Try again in a few minutes',
  });
}
