import type { Logger } from 'pino';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { RecentVerdict } from './files/eligibility-counts.js';
import type { Encoder, Messages } from './messages.js';

/** The promise of a sink, in the words that `status`, the docs and the metrics use. */
export type DeliveryClass =
  | 'exactly once' // across a crash of the process; at least once across a power loss
  | 'at least once, acknowledged'
  | 'at least once within a window'
  | 'best effort';

/** Of what a batch is: rows of one source and one timeline, in the order of their ids, already through the sink's filter. */
export interface BatchOrigin {
  readonly source: SourceName;
  readonly timeline: number;
  /** The id to which the cursor moves when all of the batch is delivered; ≥ the last event's. */
  readonly upTo: number;
  /** Rows sent again because somebody asked for it: no cursor moves, and they have no place in a replay window. */
  readonly replay?: true;
  /** Rows that were there before anybody looked on: what is withheld of them is not counted. */
  readonly uncounted?: true;
  /** Ids have begun to be used again within this timeline: a row with the id of one that was delivered may be another. */
  readonly idsReused?: true;
}

/** For a sink that takes events as they are. May be empty: then only the cursor moves, and the sink is not asked. */
export interface Batch extends BatchOrigin {
  readonly events: readonly AuditEvent[];
}

/** For a sink that takes messages. */
export interface MessageBatch extends BatchOrigin {
  readonly messages: Messages;
}

/** What a sink has promised. `upTo` < the batch's means that the rest has to be delivered again. */
export interface Delivered {
  readonly upTo: number;
  /** The sink's own note (JSON text: file, offset, …), committed together with the cursor, given back to `open`. */
  readonly saved?: string;
}

export type OnProgress = (upTo: number) => boolean;

/** The position of a sink after a check of its destination: everything up to here is there, nothing behind it. */
export interface ResumePosition {
  readonly source: SourceName;
  readonly timeline: number;
  readonly upTo: number;
  /** Rows found at the destination behind the saved position: `[row id, event.id]`, ascending. */
  readonly found: ReadonlyArray<readonly [number, string]>;
}

/** Corrects the cursors, forward (lines written, cursor not saved) or back (lines lost with the power). */
export interface Corrections {
  readonly positions: readonly ResumePosition[];
  readonly saved: string;
}

/** What `check` found. `next` is what to do about it. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'error';
  readonly what: string;
  readonly next?: string;
  /** Set if the finding is about the rights of the user who runs `check`; it says nothing about a daemon that runs as another user. */
  readonly access?: true;
}

/** Numbers and words of the sink's own for `status --json` and metrics. Counters end in `_total`. */
export type SinkFigures = Readonly<Record<string, string | number | boolean | null>>;

/** What all sinks have in common. */
interface Destination {
  readonly deliveryClass: DeliveryClass;
  /**
   * Gets ready. `saved` is the note of the last `Delivered` that was committed, or null at the very first start.
   * Returns corrections to the cursors, or null if there are none. Throws while the destination is down, and as soon as `signal` says
   * that this process ends.
   */
  open(saved: string | null, signal?: AbortSignal): Promise<Corrections | null>;
  /** Looks, without changing anything, whether the destination would take events. Works without `open`. */
  check(): Promise<Finding[]>;
  figures(): SinkFigures;
  /** What it decided of late, by verdict, where it decides: `written`, or why an event was withheld. */
  verdicts?(): Readonly<Record<string, RecentVerdict>>;
  /** While idle, each second or `tickPeriod`: durability (fdatasync), rolls by time, keep-alives. May return a new note to save. */
  tick?(): Promise<string | null>;
  /** Milliseconds until `tick` is due again while no event comes; without it, a second. */
  tickPeriod?(): number;
  close(): Promise<void>;
  /**
   * Positions behind which rows may have to be delivered again although the cursors have passed them: retention keeps those rows.
   * Works without `open`. @param saved the sink's note as it is committed
   */
  undelivered?(saved: string | null): readonly ResumePosition[];
  /** Called once `close` has resolved: the state to save, such as that the destination has read everything; null if there is none. */
  finalState?(): string | null;
}

/**
 * Resolves when the promise of the class is met; throws when it can't be, and `open` repairs what was left half done.
 *
 * @param onProgress may be called meanwhile: everything up to this row is delivered, and the cursor moves at once. False if it could not move
 */
type Deliver<B> = (batch: B, signal: AbortSignal, onProgress?: OnProgress) => Promise<Delivered>;

/** A sink that sends or writes each event as a message of its own. Rows are made into messages as they are read, for all sinks of one format. */
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

/** What every sink gets in addition to its configuration. */
export interface SinkDeps {
  /** The name it has in the configuration. */
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Free bytes that Postern is to keep on its disk; below it a file sink prunes, then pauses. */
  readonly minFree: number;
  readonly log: Logger;
}
