import type { Logger } from 'pino';
import type { AuditdError } from '../../errors.js';
import type { FormatFailures } from '../format-failures.js';
import type { Encoder } from '../messages.js';
import type {
  Corrections,
  Delivered,
  DeliveryClass,
  Finding,
  MessageBatch,
  MessageSink,
  OnProgress,
  ResumePosition,
  SinkFigures,
} from '../sink.js';
import { sinkFailed } from '../sink-failed.js';
import type { CollectorSession } from './collector-session.js';
import type { Connected, FailoverTargets } from './failover.js';
import { ReplayWindow, type WindowLimits } from './replay-window.js';

export interface ConnectedSinkOptions {
  readonly deliveryClass: DeliveryClass;
  readonly targets: FailoverTargets<CollectorSession>;
  /** Null where the collector answers: nothing has to be sent again then. */
  readonly window: WindowLimits | null;
  readonly encoder: Encoder;
  readonly unformatted: FormatFailures;
  readonly check: () => Promise<Finding[]>;
  readonly log: Logger;
}

/** What there is of a connection. */
type Connection =
  | { readonly state: 'up'; readonly session: CollectorSession; readonly index: number; countedUntil: number }
  /** There is no connection, and nothing is lost if one is opened between batches. */
  | { readonly state: 'down' }
  /** The connection broke, or what went over it may be lost: shipping has to call `open`. */
  | { readonly state: 'broken'; readonly error: AuditdError };

const DOWN: Connection = { state: 'down' };

/** The result of opening a connection in the background. `found` is null if no earlier target is back. */
type Outcome =
  | { readonly state: 'opened'; readonly found: Connected<CollectorSession> | null }
  | { readonly state: 'failed'; readonly error: unknown };

/** A connection that is being opened: while there is none, or to an earlier target. */
interface Attempt {
  /** Null until it is settled. */
  outcome: Outcome | null;
  readonly settled: Promise<Outcome>;
}

/**
 * Syslog over a connection: TCP, TLS, unix stream, RELP.
 *
 * A connection that ends is noticed at once, between batches by `tick`. If events may have been lost with it, the window is
 * replayed (`open` moves the cursors back); otherwise a new connection is opened and nothing is repeated.
 */
export class ConnectedSink implements MessageSink {
  readonly deliveryClass: DeliveryClass;
  readonly encoder: Encoder;
  private connection: Connection = DOWN;
  private attempt: Attempt | null = null;
  private window: ReplayWindow | null = null;
  /** What `open` returned, until the next call shows that shipping has saved it: state.db may have refused the write. */
  private unsaved: readonly ResumePosition[] = [];
  private ending = new AbortController();
  private lastTarget: string | null = null;
  private readonly totals = { connects: 0, messages: 0, bytes: 0, replayed: 0 };

  constructor(private readonly options: ConnectedSinkOptions) {
    this.deliveryClass = options.deliveryClass;
    this.encoder = options.encoder;
  }

  async open(saved: string | null, signal?: AbortSignal): Promise<Corrections | null> {
    this.countTime();
    const limits = this.options.window;
    if (limits !== null) this.window ??= ReplayWindow.restore(limits, saved);
    if (this.live === null) await this.connect(signal);
    if (this.window === null) return null;
    const { events } = this.window;
    const positions = this.window.resume();
    if (positions.length > 0) {
      this.totals.replayed += events;
      this.options.log.info({ events, positions }, 'the replay window is sent again');
    }
    this.unsaved = earliest([...this.unsaved, ...positions]);
    return this.unsaved.length === 0 ? null : { positions: this.unsaved, saved: this.window.serialize() };
  }

  async deliver(batch: MessageBatch, signal: AbortSignal, onProgress?: OnProgress): Promise<Delivered> {
    this.unsaved = [];
    const session = await this.ready(signal);
    const { sequences } = batch.messages;
    const sent = await session.send(batch, signal, onProgress);
    this.countTime();
    if (sent.error !== null) {
      this.noteEnd();
      this.connection = { state: 'broken', error: sent.error }; // if a part is through, the next batch throws it
      if (sent.count === 0) throw sent.error;
    }
    this.totals.messages += sent.count;
    this.totals.bytes += sent.bytes;
    this.options.unformatted.noteIn(batch.messages, sent.count);
    const all = sent.count === sequences.length;
    if (sent.count > 0 && batch.replay !== true) {
      this.window?.add(
        batch.source,
        batch.timeline,
        all ? sequences : sequences.slice(0, sent.count),
        sent.bytes,
      );
    }
    const upTo = all ? batch.upTo : (sequences[sent.count - 1] ?? (sequences[0] ?? 1) - 1);
    return this.window === null ? { upTo } : { upTo, saved: this.window.serialize() };
  }

  async tick(): Promise<string | null> {
    this.unsaved = [];
    this.countTime();
    await this.failBack();
    if (this.live !== null) return null;
    this.noteEnd();
    this.throwIfBroken();
    this.attempt ??= this.startAttempt((signal) => this.options.targets.open(signal));
    const outcome = this.takeOutcome();
    if (outcome?.state === 'failed') throw outcome.error;
    if (outcome !== null && outcome.found !== null) {
      this.use(outcome.found);
      this.window?.resume();
    }
    return this.finalState();
  }

  check(): Promise<Finding[]> {
    return this.options.check();
  }

  figures(): SinkFigures {
    const { window, totals } = this;
    const live = this.live?.session ?? null;
    return {
      target: live?.target ?? null,
      connected: live !== null,
      tls: live?.tls?.protocol ?? null,
      certificate_expires: live?.tls == null ? null : new Date(live.tls.expires).toISOString(),
      reconnects_total: Math.max(0, totals.connects - 1),
      messages_total: totals.messages,
      bytes_total: totals.bytes,
      unformatted_total: this.options.unformatted.total,
      in_flight_bytes: live?.link.pending ?? 0,
      unacknowledged_bytes: live?.link.unacknowledged ?? null,
      ...(window === null
        ? {
            acknowledged_total: totals.messages,
            unanswered: live?.unanswered ?? 0,
            send_window: live?.window ?? 0,
          }
        : { window_events: window.events, window_bytes: window.bytes, replayed_total: totals.replayed }),
    };
  }

  undelivered(saved: string | null): readonly ResumePosition[] {
    const limits = this.options.window;
    if (limits === null) return [];
    this.countTime();
    return [...(this.window ?? ReplayWindow.restore(limits, saved)).undelivered(), ...this.unsaved];
  }

  /**
   * The state to save once `close` has resolved: the window, with how the connection ended. Null without a window, and if the positions
   * of the last `open` are not saved yet: the older state has those rows sent again.
   */
  finalState(): string | null {
    return this.window === null || this.unsaved.length > 0 ? null : this.window.serialize();
  }

  async close(): Promise<void> {
    this.ending.abort();
    await this.attempt?.settled;
    this.ending = new AbortController();
    const outcome = this.takeOutcome();
    if (outcome?.state === 'opened')
      outcome.found?.connection.link.destroy(sinkFailed('no longer needed', null));
    if (this.connection.state === 'up') await this.connection.session.close();
    this.noteEnd();
  }

  /** The connection, if it has not ended. */
  private get live(): Extract<Connection, { state: 'up' }> | null {
    const { connection } = this;
    return connection.state === 'up' && connection.session.link.ended === null ? connection : null;
  }

  private throwIfBroken(): void {
    if (this.connection.state === 'broken') throw this.connection.error;
  }

  /** The live session, or a new one where the collector closed the last one and nothing can be lost. */
  private async ready(signal: AbortSignal): Promise<CollectorSession> {
    if (this.live !== null) return this.live.session;
    this.noteEnd();
    this.throwIfBroken();
    const session = await this.connect(signal);
    this.window?.resume();
    return session;
  }

  private async connect(signal?: AbortSignal): Promise<CollectorSession> {
    this.noteEnd();
    const stop = () => this.ending.abort(signal?.reason);
    signal?.addEventListener('abort', stop, { once: true });
    try {
      for (;;) {
        this.attempt ??= this.startAttempt((ending) => this.options.targets.open(ending));
        const outcome = await this.attempt.settled;
        this.attempt = null;
        if (outcome.state === 'failed') throw outcome.error;
        if (outcome.found === null) continue; // it was an attempt to fail back, and no earlier target answered
        this.use(outcome.found);
        return outcome.found.connection;
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      if (this.ending.signal.aborted) this.ending = new AbortController();
    }
  }

  private startAttempt(open: (signal: AbortSignal) => Promise<Connected<CollectorSession> | null>): Attempt {
    const settled = open(this.ending.signal)
      .then((found): Outcome => ({ state: 'opened', found }))
      .catch((error: unknown): Outcome => ({ state: 'failed', error }))
      .then((outcome) => {
        attempt.outcome = outcome;
        return outcome;
      });
    const attempt: Attempt = { outcome: null, settled };
    return attempt;
  }

  /** The outcome of the attempt, once; null while there is no attempt or it is not settled. */
  private takeOutcome(): Outcome | null {
    const outcome = this.attempt?.outcome ?? null;
    if (outcome !== null) this.attempt = null;
    return outcome;
  }

  private use({ index, connection: session }: Connected<CollectorSession>): void {
    this.connection = { state: 'up', session, index, countedUntil: performance.now() };
    this.totals.connects++;
    const { target } = session;
    this.options.log[target === this.lastTarget ? 'debug' : 'info']({ target }, `connected to ${target}`);
    this.lastTarget = target;
  }

  /** At most once a minute: if an earlier target is back, the connection moves there. */
  private async failBack(): Promise<void> {
    const { live, options } = this;
    if (live === null || live.index === 0) return;
    const { session, index } = live;
    if (this.attempt === null) {
      const age = performance.now() - session.link.openedAt;
      if (options.targets.mayFailBack(index, age))
        this.attempt = this.startAttempt((signal) => options.targets.failBack(index, signal));
      return;
    }
    const outcome = this.takeOutcome();
    if (outcome?.state !== 'opened' || outcome.found === null) return;
    await session.close();
    this.noteEnd();
    this.use(outcome.found);
    if (this.window?.replays === true) {
      const { target } = outcome.found.connection;
      throw sinkFailed(`moved from ${session.target} back to ${target}`, 'The replay window is sent again');
    }
    this.window?.resume();
  }

  /** Takes note of how the connection ended, once. */
  private noteEnd(): void {
    const { connection } = this;
    if (connection.state !== 'up') return;
    const { session, index } = connection;
    const { ended, openedAt } = session.link;
    if (ended === null) return;
    this.countTime();
    this.connection = DOWN;
    this.window?.ended(ended.ending);
    if (ended.ending === 'orderly') return;
    this.options.targets.ended(index, performance.now() - openedAt, ended.stalled);
    if (ended.ending === 'lost' || this.window?.replays === true)
      this.connection = { state: 'broken', error: ended.error };
  }

  private countTime(): void {
    const { connection } = this;
    if (connection.state !== 'up') return;
    const now = performance.now();
    this.window?.addConnectedTime(now - connection.countedUntil);
    connection.countedUntil = now;
  }
}

/** Of several positions in one source and timeline, the one that is furthest back. */
function earliest(positions: readonly ResumePosition[]): ResumePosition[] {
  const found = new Map<string, ResumePosition>();
  for (const position of positions) {
    const key = `${position.source}/${position.timeline}`;
    if (position.upTo < (found.get(key)?.upTo ?? Number.POSITIVE_INFINITY)) found.set(key, position);
  }
  return [...found.values()];
}
