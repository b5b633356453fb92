import type { Logger } from 'pino';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { RecentVerdict } from './files/eligibility-counts.js';
import type { Encoder, Messages } from './messages.js';

/** The delivery guarantee of a sink, in the words of `status`, the docs and the metrics. */
export type DeliveryClass =
  | 'exactly once' // across a crash of the process; at least once across a power loss
  | 'at least once, acknowledged'
  | 'at least once within a window'
  | 'best effort';

/** A batch has rows of one source and one timeline, in the order of their ids, that passed the sink's filter. */
export interface BatchOrigin {
  readonly source: SourceName;
  readonly timeline: number;
  /** The id to which the cursor moves after the whole batch is delivered; ≥ the last event's. */
  readonly upTo: number;
  /** Rows of a requested replay: no cursor moves, and they do not count for a replay window. */
  readonly replay?: true;
  /** Backlog rows: withheld ones are not counted. */
  readonly uncounted?: true;
  /** Ids are reused within this timeline: a row with the id of a delivered one may be a different row. */
  readonly idsReused?: true;
}

/** For a sink that needs events. May be empty: then only the cursor moves, and the sink is not called. */
export interface Batch extends BatchOrigin {
  readonly events: readonly AuditEvent[];
}

/** For a sink that needs messages. */
export interface MessageBatch extends BatchOrigin {
  readonly messages: Messages;
}

/** What a sink has delivered. `upTo` < the batch's means that the rest has to be delivered again. */
export interface Delivered {
  readonly upTo: number;
  /** The sink's own note (JSON text: file, offset, …), committed together with the cursor and passed to `open`. */
  readonly saved?: string;
}

export type OnProgress = (upTo: number) => boolean;

/** The position of a sink after a check of its destination: everything up to here is there, nothing after it. */
export interface ResumePosition {
  readonly source: SourceName;
  readonly timeline: number;
  readonly upTo: number;
  /** Rows found at the destination after the saved position: `[row id, event.id]`, ascending. */
  readonly found: ReadonlyArray<readonly [number, string]>;
}

/** Corrects the cursors, forward (lines written, cursor not saved) or back (lines lost in a power loss). */
export interface Corrections {
  readonly positions: readonly ResumePosition[];
  readonly saved: string;
}

/** A finding of `check`. `next` is the next step. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'error';
  readonly what: string;
  readonly next?: string;
  /** Set if the finding is about the rights of the user who runs `check`; it does not apply to a daemon that runs as another user. */
  readonly access?: true;
}

/** Sink-specific values for `status --json` and metrics. Counters end in `_total`. */
export type SinkFigures = Readonly<Record<string, string | number | boolean | null>>;

/** The common interface of all sinks. */
interface Destination {
  readonly deliveryClass: DeliveryClass;
  /**
   * Prepares the sink. `saved` is the note of the last committed `Delivered`, or null at the very first start.
   * Returns corrections to the cursors, or null if there are none. Throws while the destination is down, and when `signal` aborts because
   * the process ends.
   */
  open(saved: string | null, signal?: AbortSignal): Promise<Corrections | null>;
  /** Checks whether the destination would accept events, without changing anything. Works without `open`. */
  check(): Promise<Finding[]>;
  figures(): SinkFigures;
  /** Recent decisions by verdict, for a sink that decides: `written`, or why an event was withheld. */
  verdicts?(): Readonly<Record<string, RecentVerdict>>;
  /** While idle, each second or `tickPeriod`: durability (fdatasync), rotation by time, keep-alives. May return a new note to save. */
  tick?(): Promise<string | null>;
  /** Milliseconds until the next `tick` while idle; default: a second. */
  tickPeriod?(): number;
  close(): Promise<void>;
  /**
   * Positions after which rows may have to be delivered again although the cursors have passed them: retention keeps those rows.
   * Works without `open`. @param saved the sink's committed note
   */
  undelivered?(saved: string | null): readonly ResumePosition[];
  /** Called once `close` has resolved: the state to save, such as that the destination has read everything; null if there is none. */
  finalState?(): string | null;
}

/**
 * Resolves when the sink's guarantee is met; throws if it can't be, and `open` then repairs partial writes.
 *
 * @param onProgress may be called before that: everything up to this row is delivered, and the cursor moves at once. Returns false if it could not move
 */
type Deliver<B> = (batch: B, signal: AbortSignal, onProgress?: OnProgress) => Promise<Delivered>;

/** A sink that sends or writes each event as a separate message. Rows are converted as they are read, once for all sinks of a format. */
export interface MessageSink extends Destination {
  readonly encoder: Encoder;
  readonly deliver: Deliver<MessageBatch>;
}

/** A sink that needs the events themselves. */
export interface EventSink extends Destination {
  readonly encoder: null;
  readonly deliver: Deliver<Batch>;
}

/**
 * A destination. Calls never overlap: `open`, then `deliver` one at a time, `close`. After a `deliver` that
 * threw, `open` is called again before the next one.
 */
export type Sink = MessageSink | EventSink;

/** What every sink receives in addition to its configuration. */
export interface SinkDeps {
  /** Its name in the configuration. */
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Free bytes to leave to Postern on its disk; below that a file sink prunes, then pauses. */
  readonly minFree: number;
  readonly log: Logger;
  /** Records an event of the daemon itself; left out where no daemon runs. */
  readonly record?: (entry: NewEntry) => void;
}
