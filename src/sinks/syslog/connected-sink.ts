import type { Logger } from 'pino';
import type { AuditdError } from '../../errors.js';
import type { Unformatted } from '../format-failures.js';
import type {
  Batch,
  Corrections,
  Delivered,
  DeliveryClass,
  Finding,
  Reached,
  ResumePosition,
  Sink,
  SinkFigures,
} from '../sink.js';
import { sinkFailed } from './collector-error.js';
import type { CollectorSession } from './collector-session.js';
import type { Collectors, Connected } from './failover.js';
import { ReplayWindow, type WindowLimits } from './replay-window.js';

export interface ConnectedSinkOptions {
  readonly deliveryClass: DeliveryClass;
  readonly collectors: Collectors<CollectorSession>;
  /** Null where the collector answers: nothing has to be sent again then. */
  readonly window: WindowLimits | null;
  readonly unformatted: Pick<Unformatted, 'total'>;
  readonly check: () => Promise<Finding[]>;
  readonly log: Logger;
}

interface Dialling {
  settled: boolean;
  /** Null while it is not settled, where it failed, or where no earlier target is back. */
  done: Connected<CollectorSession> | null;
  failed: unknown;
  promise: Promise<void>;
}

/**
 * Syslog over a connection: TCP, TLS, unix stream, RELP.
 *
 * A connection that ends is noticed at once, between batches by `tick`. Where events may have been lost with it, the
 * window goes again (`open` moves the cursors back); else it is just made anew.
 */
export class ConnectedSink implements Sink {
  readonly deliveryClass: DeliveryClass;
  private session: CollectorSession | null = null;
  /** Why `open` has to be called: the connection broke, or what went over it may be lost. */
  private broken: AuditdError | null = null;
  private index = 0;
  private countedUntil = 0;
  private window: ReplayWindow | null = null;
  /** What `open` has returned, until a call shows that shipping has it in its state: it may have failed to write it. */
  private unsaved: readonly ResumePosition[] = [];
  /** A connection in the making, while there is none or to an earlier target. */
  private dialling: Dialling | null = null;
  private ending = new AbortController();
  private connects = 0;
  private messages = 0;
  private bytes = 0;
  private replayed = 0;
  private lastTarget: string | null = null;

  constructor(private readonly options: ConnectedSinkOptions) {
    this.deliveryClass = options.deliveryClass;
  }

  async open(saved: string | null, signal?: AbortSignal): Promise<Corrections | null> {
    this.countTime();
    const limits = this.options.window;
    if (limits !== null) this.window ??= ReplayWindow.restore(limits, saved);
    if (!this.alive()) await this.connect(signal);
    this.broken = null;
    if (this.window === null) return null;
    const { events } = this.window;
    const positions = this.window.resume();
    if (positions.length > 0) {
      this.replayed += events;
      this.options.log.info({ events, positions }, 'the replay window is sent again');
    }
    this.unsaved = earliest([...this.unsaved, ...positions]);
    return this.unsaved.length === 0 ? null : { positions: this.unsaved, saved: this.window.note() };
  }

  async deliver(batch: Batch, signal: AbortSignal, reached?: Reached): Promise<Delivered> {
    this.unsaved = [];
    const session = await this.ready(signal);
    const { events } = batch;
    const sent = await session.send(batch, signal, reached);
    this.countTime();
    if (sent.error !== null) {
      this.noteEnd();
      this.broken = sent.error; // if a part is through, it is said at the next batch
      if (sent.count === 0) throw sent.error;
    }
    this.messages += sent.count;
    this.bytes += sent.bytes;
    const all = sent.count === events.length;
    if (sent.count > 0 && batch.replay !== true) {
      this.window?.add(batch.source, batch.timeline, all ? events : events.slice(0, sent.count), sent.bytes);
    }
    const upTo = all ? batch.upTo : (events[sent.count - 1]?.sequence ?? (events[0]?.sequence ?? 1) - 1);
    return this.window === null ? { upTo } : { upTo, saved: this.window.note() };
  }

  async tick(): Promise<string | null> {
    this.unsaved = [];
    this.countTime();
    await this.goBack();
    if (this.alive()) return null;
    this.noteEnd();
    if (this.broken !== null) throw this.broken;
    this.dialling ??= this.dial((signal) => this.options.collectors.open(signal));
    const { settled, done, failed } = this.dialling;
    if (settled) this.dialling = null;
    if (failed !== null) throw failed;
    if (done !== null) {
      this.use(done);
      this.window?.resume();
    }
    return this.parting();
  }

  check(): Promise<Finding[]> {
    return this.options.check();
  }

  figures(): SinkFigures {
    const { session, window } = this;
    const live = session !== null && session.link.ended === null ? session : null;
    return {
      target: live?.target ?? null,
      connected: live !== null,
      tls: live?.tls?.protocol ?? null,
      certificate_expires: live?.tls == null ? null : new Date(live.tls.expires).toISOString(),
      reconnects_total: Math.max(0, this.connects - 1),
      messages_total: this.messages,
      bytes_total: this.bytes,
      unformatted_total: this.options.unformatted.total,
      in_flight_bytes: live?.link.pending ?? 0,
      unacknowledged_bytes: live?.link.unacknowledged ?? null,
      ...(window === null
        ? { acknowledged_total: this.messages, unanswered: live?.unanswered ?? 0 }
        : { window_events: window.events, window_bytes: window.bytes, replayed_total: this.replayed }),
    };
  }

  undelivered(saved: string | null): readonly ResumePosition[] {
    const limits = this.options.window;
    if (limits === null) return [];
    this.countTime();
    return [...(this.window ?? ReplayWindow.restore(limits, saved)).undelivered(), ...this.unsaved];
  }

  /**
   * The note to save once `close` has resolved: the window with how the connection ended. Null where there is none, and where the
   * positions of the last `open` are not saved: the note there is, of before, has them sent again.
   */
  parting(): string | null {
    return this.window === null || this.unsaved.length > 0 ? null : this.window.note();
  }

  async close(): Promise<void> {
    this.ending.abort();
    await this.dialling?.promise;
    this.ending = new AbortController();
    this.dialling?.done?.connection.link.destroy(sinkFailed('not needed any more.'));
    this.dialling = null;
    await this.session?.close();
    this.noteEnd();
  }

  private alive(): boolean {
    return this.session !== null && this.session.link.ended === null;
  }

  /** The live session, or a new one where the collector closed the last one and nothing can be lost. */
  private async ready(signal: AbortSignal): Promise<CollectorSession> {
    if (!this.alive()) {
      this.noteEnd();
      if (this.broken !== null) throw this.broken;
      await this.connect(signal);
      this.window?.resume();
    }
    if (this.session === null) throw sinkFailed('not connected. It is tried again.');
    return this.session;
  }

  private async connect(signal?: AbortSignal): Promise<void> {
    this.noteEnd();
    const stop = () => this.ending.abort(signal?.reason);
    signal?.addEventListener('abort', stop, { once: true });
    try {
      for (;;) {
        this.dialling ??= this.dial((ending) => this.options.collectors.open(ending));
        const { dialling } = this;
        await dialling.promise;
        this.dialling = null;
        if (dialling.failed !== null) throw dialling.failed;
        if (dialling.done === null) continue; // it was an attempt to go back, and found nothing
        this.use(dialling.done);
        return;
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      if (this.ending.signal.aborted) this.ending = new AbortController();
    }
  }

  private dial(make: (signal: AbortSignal) => Promise<Connected<CollectorSession> | null>): Dialling {
    const dialling: Dialling = { settled: false, done: null, failed: null, promise: Promise.resolve() };
    dialling.promise = make(this.ending.signal)
      .then((connected) => {
        dialling.done = connected;
      })
      .catch((error: unknown) => {
        dialling.failed = error;
      })
      .finally(() => {
        dialling.settled = true;
      });
    return dialling;
  }

  private use({ index, connection }: Connected<CollectorSession>): void {
    this.session = connection;
    this.index = index;
    this.countedUntil = performance.now();
    this.connects++;
    const { target } = connection;
    this.options.log[target === this.lastTarget ? 'debug' : 'info']({ target }, `connected to ${target}`);
    this.lastTarget = target;
  }

  /** Once a minute or more seldom: where an earlier target is back, the connection moves there. */
  private async goBack(): Promise<void> {
    const { session, index, options } = this;
    if (session === null || session.link.ended !== null || index === 0) return;
    if (this.dialling === null) {
      const age = performance.now() - session.link.openedAt;
      if (options.collectors.mayGoBack(index, age)) {
        this.dialling = this.dial((signal) => options.collectors.goBack(index, signal));
      }
      return;
    }
    const { settled, done: next } = this.dialling;
    if (!settled) return;
    this.dialling = null;
    if (next === null) return;
    await session.close();
    this.noteEnd();
    this.use(next);
    this.broken = null;
    if (this.window?.replays === true) {
      const { target } = next.connection;
      this.broken = sinkFailed(
        `moved from ${session.target} back to ${target}; the replay window is sent again.`,
      );
      throw this.broken;
    }
    this.window?.resume();
  }

  /** Takes note of how the session ended, once. */
  private noteEnd(): void {
    const { session } = this;
    const ended = session?.link.ended ?? null;
    if (session === null || ended === null) return;
    this.countTime();
    this.session = null;
    this.window?.ended(ended.ending);
    if (ended.ending === 'orderly') return;
    this.options.collectors.ended(this.index, performance.now() - session.link.openedAt, ended.stalled);
    if (ended.ending === 'lost' || this.window?.replays === true) this.broken = ended.error;
  }

  private countTime(): void {
    if (this.session === null) return;
    const now = performance.now();
    this.window?.pass(now - this.countedUntil);
    this.countedUntil = now;
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
