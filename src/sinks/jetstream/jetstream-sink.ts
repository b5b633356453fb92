import { randomUUID } from 'node:crypto';
import { type JetStreamClient, jetstream, type StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { z } from 'zod';
import type { AuditEvent, SourceName } from '../../audit/event.js';
import type { JetstreamSinkConfig } from '../../config/jetstream.js';
import { AuditdError } from '../../errors.js';
import { formatFleet, lastFleet, lastSubject, subjectOf, subjectToken } from '../../formats/fleet-message.js';
import { formatted } from '../../formats/format-fallback.js';
import { unlessAborted } from '../abortable.js';
import { FormatFailures } from '../format-failures.js';
import type { Batch, Corrections, Delivered, EventSink, Finding, SinkDeps, SinkFigures } from '../sink.js';
import { checkStream } from './check.js';
import { connectNats } from './connection.js';
import { natsAborted, natsError } from './nats-error.js';

/** An acknowledgement that takes longer is not going to arrive: the stream has lost its leader. */
const ACK_MS = 5_000;
/** A batch is cut short after so long, so that a slow line makes progress in parts: shipping's timeout for a delivery is 60 s. */
const SEND_LIMIT_MS = 20_000;
/** Headers and subject count against the largest message too. */
const HEADERS = 1_024;
const NEVER = new AbortController().signal;

/** Publishes events to the stream of a fleet. `server` is the name of this one. */
export function createJetstreamSink(config: JetstreamSinkConfig, server: string, deps: SinkDeps): EventSink {
  return new JetstreamSink(config, server, deps);
}

interface Live {
  readonly nc: NatsConnection;
  readonly js: JetStreamClient;
}

/** How far a batch has got. */
interface InFlightBatch {
  next: number;
  prefix: number;
  open: number;
  failed: unknown;
  readonly acknowledged: boolean[];
  wake: () => void;
}

/**
 * The cursor moves when JetStream has acknowledged (PubAck: a majority of its replicas has the message). The event's id is the
 * message's, so what is sent again within the stream's duplicate window is stored once; behind it, the hub drops it. The stream knows
 * an id even when the message itself is gone: what is replayed, to bring that back, has another one, and the hub alone drops it.
 */
class JetstreamSink implements EventSink {
  readonly deliveryClass = 'at least once, acknowledged';
  /** A message names the one before it, so it is made when that is known. */
  readonly encoder = null;
  private live: Live | null = null;
  private previous = PreviousEvent.restore(null);
  private readonly token: string;
  private readonly unformatted: FormatFailures;
  private connects = 0;
  private messages = 0;
  private bytes = 0;
  private duplicates = 0;
  private cut = 0;
  private unacknowledged = 0;

  constructor(
    private readonly config: JetstreamSinkConfig,
    private readonly server: string,
    private readonly deps: SinkDeps,
  ) {
    this.token = subjectToken(server);
    this.unformatted = new FormatFailures(deps.log, 'a message of the fleet');
  }

  async open(saved: string | null, signal: AbortSignal = NEVER): Promise<Corrections | null> {
    signal.throwIfAborted();
    await this.close();
    this.previous = PreviousEvent.restore(saved);
    const nc = await connectNats(this.config, `postern-auditd ${this.server} ${this.deps.name}`, signal);
    try {
      const js = jetstream(nc, { timeout: ACK_MS });
      await unlessAborted(streamOf(js, this.config.stream), signal, () => natsAborted(nc.getServer()));
      this.live = { nc, js };
      this.connects++;
      this.deps.log.debug({ target: nc.getServer() }, `connected to ${nc.getServer()}`);
      return null;
    } catch (error) {
      await nc.close();
      throw natsError(nc.getServer(), error);
    }
  }

  async deliver(batch: Batch, signal: AbortSignal): Promise<Delivered> {
    signal.throwIfAborted();
    const live = this.connected();
    const { events, source, timeline } = batch;
    const round: InFlightBatch = {
      next: 0,
      prefix: 0,
      open: 0,
      failed: null,
      acknowledged: [],
      wake: () => undefined,
    };
    const started = performance.now();
    const onAbort = () => round.wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        const mayContinue = () =>
          round.failed === null && !signal.aborted && performance.now() - started < SEND_LIMIT_MS;
        while (round.open < this.config.window && round.next < events.length && mayContinue())
          this.send(live, batch, round);
        if (round.open === 0 || signal.aborted) break;
        await new Promise<void>((resolve) => {
          round.wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    const lastDone = events[round.prefix - 1];
    if (lastDone === undefined) throw natsError(live.nc.getServer(), round.failed ?? signal.reason);
    if (batch.replay !== true) this.previous.acknowledged(source, timeline, lastDone.sequence);
    const upTo = round.prefix === events.length ? batch.upTo : lastDone.sequence;
    return { upTo, saved: this.previous.serialize() };
  }

  /** A connection that has ended is noticed at once, not at the next event. */
  async tick(): Promise<string | null> {
    this.connected();
    return null;
  }

  check(): Promise<Finding[]> {
    return checkStream(this.config, this.server);
  }

  figures(): SinkFigures {
    const nc = this.live?.nc;
    const connected = nc !== undefined && !nc.isClosed();
    return {
      target: connected ? nc.getServer() : null,
      connected,
      subject: `postern.audit.${this.token}.>`,
      reconnects_total: Math.max(0, this.connects - 1),
      messages_total: this.messages,
      bytes_total: this.bytes,
      acknowledged_total: this.messages,
      duplicates_total: this.duplicates,
      cut_total: this.cut,
      unformatted_total: this.unformatted.total,
      unanswered: this.unacknowledged,
    };
  }

  async close(): Promise<void> {
    const { live } = this;
    this.live = null;
    await live?.nc.close();
  }

  private connected(): Live {
    const { live } = this;
    if (live === null || live.nc.isClosed())
      throw new AuditdError('SINK_FAILED', 'not connected to NATS', { next: 'The sink reconnects' });
    return live;
  }

  private send({ nc, js }: Live, batch: Batch, round: InFlightBatch): void {
    const at = round.next++;
    const event = batch.events[at] as AuditEvent;
    const { source, timeline } = batch;
    const after =
      batch.replay === true
        ? 0
        : at === 0
          ? this.previous.before(source, timeline)
          : ((batch.events[at - 1] as AuditEvent).sequence ?? 0);
    const room = (nc.info?.max_payload ?? 2 ** 20) - HEADERS;
    const { body, cut, subject } = formatted(
      event,
      (one) => ({ ...formatFleet(one, this.server, after, room), subject: subjectOf(this.token, one) }),
      (one) => ({ body: lastFleet(one, this.server, after), cut: true, subject: lastSubject(this.token) }),
      (_, error) => this.unformatted.note({ event, error }),
    );
    round.open++;
    this.unacknowledged++;
    js.publish(subject, body, {
      msgID: batch.replay === true ? `${event.id}-${randomUUID()}` : event.id,
      timeout: ACK_MS,
      expect: { streamName: this.config.stream },
    })
      .then(({ duplicate }) => {
        round.acknowledged[at] = true;
        while (round.acknowledged[round.prefix] === true) round.prefix++;
        this.messages++;
        this.bytes += body.length;
        if (duplicate) this.duplicates++;
        if (cut) this.cut++;
      })
      .catch((error: unknown) => {
        round.failed ??= error;
      })
      .finally(() => {
        round.open--;
        this.unacknowledged--;
        if (round.open === 0 || round.open === this.config.window >> 1) round.wake();
      });
  }
}

/** @throws JetStreamApiError if the stream does not exist */
async function streamOf(js: JetStreamClient, name: string): Promise<StreamInfo> {
  const manager = await js.jetstreamManager(false);
  return manager.streams.info(name);
}

interface Last {
  readonly timeline: number;
  readonly sequence: number;
}

const last = z.object({ timeline: z.int(), sequence: z.int() });
const schema = z.object({ v: z.literal(1), last: z.record(z.string(), last) });

/**
 * The last event acknowledged of each source. Each message names the one before it: when JetStream changes its leader in the
 * middle of a batch, a later message can be stored while an earlier one is lost, and is then sent behind it. The hub puts them in order.
 */
class PreviousEvent {
  private constructor(private readonly last: Map<string, Last>) {}

  static restore(saved: string | null): PreviousEvent {
    try {
      const parsed = schema.safeParse(JSON.parse(saved ?? ''));
      if (parsed.success) return new PreviousEvent(new Map(Object.entries(parsed.data.last)));
    } catch {
      // no note yet, or none of ours: the next message names none
    }
    return new PreviousEvent(new Map());
  }

  /** Row id of the last event of this timeline; 0 if there is none. */
  before(source: SourceName, timeline: number): number {
    const known = this.last.get(source);
    return known?.timeline === timeline ? known.sequence : 0;
  }

  acknowledged(source: SourceName, timeline: number, sequence: number): void {
    this.last.set(source, { timeline, sequence });
  }

  serialize(): string {
    return JSON.stringify({ v: 1, last: Object.fromEntries(this.last) });
  }
}
