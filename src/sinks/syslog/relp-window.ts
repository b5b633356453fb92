import type { MessageBatch } from '../sink.js';

/** The window while the sink is up to date. */
const LIVE_WINDOW = 128;
/** What the window grows to in a backlog. */
export const BACKLOG_WINDOW = 1_000;
/** A batch of this size is part of a backlog: the next one follows at once. */
const BACKLOG = 512;
/** In a backlog so many events may be unanswered when a batch ends. They are read again with the next one, so more would cost CPU. */
const OPEN_AT_END = 128;

/**
 * How many events may be sent beyond the cursor, which does not know that they are answered. All of them may arrive twice when this process or
 * the session ends.
 *
 * Small while the sink is up to date. It doubles with each batch of a backlog, so that a long round trip does not hold up the backlog and many
 * answers are handled at a time, and shrinks with the first small batch of the same source.
 */
export class RelpWindow {
  private backlogOf: string | null = null;
  private current: number;

  /** @param fixed the configured size, which neither grows nor shrinks */
  constructor(private readonly fixed: number | undefined) {
    this.current = fixed ?? LIVE_WINDOW;
  }

  get size(): number {
    return this.current;
  }

  /**
   * How many may be unanswered. The cursor is moved a quarter of the window at a time, so the other three quarters are what may be
   * unanswered: there is room to send at every answer.
   */
  get mayBeOpen(): number {
    return Math.max(1, this.current - Math.floor(this.current / 4));
  }

  /** Call before a batch is sent. */
  adjust({ source, messages, replay }: MessageBatch): void {
    if (this.fixed !== undefined || replay === true) return;
    if (messages.length >= BACKLOG) {
      this.current = Math.min(BACKLOG_WINDOW, this.current * 2);
      this.backlogOf = source;
    } else if (this.backlogOf === source) {
      this.current = LIVE_WINDOW;
      this.backlogOf = null;
    }
  }

  /**
   * How many events of the batch may be unanswered when it ends: none, or in a backlog some.
   * Half of the window is left to other sources, as what stays open counts there.
   *
   * @param inFlight events of earlier batches that are still open
   */
  mayStayOpen({ messages, replay }: MessageBatch, inFlight: number): number {
    if (messages.length < BACKLOG || replay === true) return 0;
    return Math.min(OPEN_AT_END, Math.floor((this.current - inFlight) / 2));
  }
}
