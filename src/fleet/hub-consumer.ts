import {
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  type StreamInfo,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { AuditdError, type Diagnosis, messageOf } from '../errors.js';
import { parseFleet } from '../formats/fleet-message.js';
import { natsError } from '../sinks/jetstream/nats-error.js';
import { type PeriodicTask, ticker } from '../ticker.js';
import type { Part } from './fleet-connection.js';
import {
  type HubTable,
  type InsertOutcomes,
  noOutcomes,
  type Received,
  type StreamPosition,
} from './hub-table.js';

/** Messages that NATS may send ahead. */
const MAX_IN_FLIGHT = 4_000;
/**
 * Messages that one transaction writes. A smaller batch waits for more messages, twice as long as the last transaction took. With 200
 * servers each transaction changes hundreds of index pages, and nearly as many for 50 rows as for 1,000 (45 µs and 28 µs CPU per event).
 */
const BATCH_SIZE = 1_000;
const SHORTEST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 50;
const HEARTBEAT_MS = 1_000;
/** The hub lags and has received no message for so long: it creates its consumer again. */
const STALLED_MS = 15_000;
const CHECK_MS = 5_000;
/** A stream that ends before the hub's position for so long counts as truncated. */
const TRUNCATED_MS = 10_000;
/** Limit of the servers that the event of a gap names. */
const MAX_NAMED_SERVERS = 50;

export interface HubConsumerOptions {
  readonly stream: string;
  readonly table: HubTable;
  readonly clock: () => number;
  readonly log: Logger;
  /** Called after rows were written. */
  readonly onRows: () => void;
  /** Messages were removed before they were read here, or the stream was created again. */
  readonly onGap: (details: Readonly<Record<string, unknown>>) => void;
  /** Rows can't be written, or no message arrives: a new connection is needed. */
  readonly onFailed: (reason: Diagnosis) => void;
}

export interface ConsumerStatus {
  readonly sequence: number;
  readonly last_sequence: number;
  readonly lag_events: number;
  readonly received_total: number;
  readonly inserted_total: number;
  readonly duplicates_total: number;
  readonly refused_total: number;
  readonly disordered_total: number;
  readonly held: number;
  /** How often messages were removed before they were read, since the start. */
  readonly gaps_total: number;
}

/**
 * Reads the stream in order, from the position in the table. It sends no acknowledgements: the position moves with the rows, so a hub
 * that was killed, or restored from a backup, resumes exactly after its last row.
 */
export class HubConsumer implements Part {
  private messages: ConsumerMessages | null = null;
  private pending: JsMsg[] = [];
  private scheduled: NodeJS.Timeout | null = null;
  private waitMs = SHORTEST_WAIT_MS;
  private periodic: PeriodicTask | null = null;
  private position: StreamPosition | null = null;
  private lastSequence = 0;
  private progressAt = 0;
  /** Counts connections: messages of an earlier one are ignored. */
  private generation = 0;
  /** The name of the consumer of this connection; null until its first message. */
  private consumer: string | null = null;
  private received = 0;
  private refused = 0;
  private gaps = 0;
  private missedUpTo = 0;
  private shortSince: number | null = null;
  private readonly total = noOutcomes();

  constructor(private readonly options: HubConsumerOptions) {
    this.position = options.table.position(options.stream);
  }

  async attach(nc: NatsConnection): Promise<void> {
    const { stream } = this.options;
    const generation = ++this.generation;
    const js = jetstream(nc, { timeout: 10_000 });
    const manager = await js.jetstreamManager(false);
    const info = await manager.streams.info(stream);
    const position = await this.startPosition(manager, info);
    const consumer = await js.consumers.get(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: position.sequence + 1,
    });
    if (generation !== this.generation) return;
    this.position = position;
    this.lastSequence = info.state.last_seq;
    this.progressAt = performance.now();
    this.consumer = null;
    this.messages = await consumer.consume({
      max_messages: MAX_IN_FLIGHT,
      idle_heartbeat: HEARTBEAT_MS,
      expires: 2 * HEARTBEAT_MS + 500,
      callback: (message) => {
        if (generation === this.generation) this.receive(message, nc);
      },
    });
    this.periodic = ticker.every(CHECK_MS, () => void this.checkStream(manager, generation));
  }

  detach(): void {
    this.generation++;
    this.periodic?.close();
    this.periodic = null;
    this.messages?.stop();
    this.messages = null;
    if (this.scheduled !== null) clearTimeout(this.scheduled);
    this.scheduled = null;
    this.pending = []; // they were not written, so the position is before them
  }

  status(): ConsumerStatus {
    const sequence = this.position?.sequence ?? 0;
    return {
      sequence,
      last_sequence: this.lastSequence,
      lag_events: Math.max(0, this.lastSequence - sequence),
      received_total: this.received,
      inserted_total: this.total.inserted,
      duplicates_total: this.total.duplicates,
      refused_total: this.refused,
      disordered_total: this.total.disordered,
      held: this.options.table.heldCount,
      gaps_total: this.gaps,
    };
  }

  /** Where to resume: after the last row, if it came from this stream. Reports each gap once. */
  private async startPosition(
    manager: JetStreamManager,
    { created, state }: StreamInfo,
  ): Promise<StreamPosition> {
    const { stream, table, log } = this.options;
    const known = table.position(stream);
    const first = { created, sequence: Math.max(0, state.first_seq - 1), messageId: '' };
    if (known === null) return first;
    this.waitForEnd(known, created, state.last_seq);
    if (known.created !== created || (await this.isOther(manager, known, state.last_seq))) {
      this.missedUpTo = 0;
      log.warn(
        { stream },
        `stream ${stream} was created again, or restored from a backup: the hub reads it from its beginning`,
      );
      this.recordGap({ reason: 'another stream', read_up_to: known.sequence }, first);
      return first;
    }
    if (state.first_seq <= known.sequence + 1) return known;
    this.reportMissing(known.sequence + 1, state.first_seq - 1, 'expired', first);
    return first;
  }

  /** A new leader may lack the last messages for a moment. That must not count as a truncated stream. */
  private waitForEnd(known: StreamPosition, created: string, last: number): void {
    if (known.created !== created || known.sequence <= last) {
      this.shortSince = null;
      return;
    }
    this.shortSince ??= performance.now();
    if (performance.now() - this.shortSince < TRUNCATED_MS)
      throw new AuditdError(
        'SINK_FAILED',
        `stream ${this.options.stream} ends at message ${last}, but the hub has read up to message ${known.sequence}`,
        { next: 'The hub retries: a new leader of the stream may not have all messages yet' },
      );
  }

  private reportMissing(
    first: number,
    to: number,
    reason: 'expired' | 'skipped',
    next: StreamPosition | null = null,
  ): void {
    const { stream, log } = this.options;
    if (to <= this.missedUpTo) return; // reported already, but the rows after it could not be written
    const from = Math.max(first, this.missedUpTo + 1);
    const what = `messages ${from} to ${to} of ${stream} were removed before the hub read them`;
    log.error({ stream, from, to }, `${what}. To send them again, run postern-auditd replay on the servers`);
    this.recordGap({ reason, from, to, count: to - from + 1 }, next);
    this.missedUpTo = to;
  }

  /**
   * The servers' tables still have the lost events: a replay from after the last row that arrived of each sends them again. The gap is
   * recorded before the position moves: a hub that is killed in between records it twice, not never.
   *
   * @param to where to continue reading, if not after the last row
   */
  private recordGap(details: Readonly<Record<string, unknown>>, to: StreamPosition | null = null): void {
    const { stream, table, onGap, onRows } = this.options;
    onGap({ stream, ...details, servers: table.knownServers(MAX_NAMED_SERVERS) });
    this.gaps++;
    this.count(table.forgetOrder(stream, to));
    onRows();
  }

  /** A truncated stream has other messages at the same sequence numbers, so the last message that was read is compared. */
  private async isOther(manager: JetStreamManager, known: StreamPosition, last: number): Promise<boolean> {
    if (known.sequence > last) return true;
    if (known.messageId === '') return false;
    try {
      const message = await manager.streams.getMessage(this.options.stream, { seq: known.sequence });
      return message !== null && message.header.get('Nats-Msg-Id') !== known.messageId;
    } catch (error) {
      if (/no message found/i.test(messageOf(error))) return false; // it has expired
      throw error;
    }
  }

  private receive(message: JsMsg, nc: NatsConnection): void {
    const { consumer } = message.info;
    this.consumer ??= consumer;
    // The library has created its consumer again. The stream may be new too, with other messages at the same sequence numbers.
    if (consumer !== this.consumer) {
      this.attachAgain(nc);
      return;
    }
    this.pending.push(message);
    if (this.pending.length >= BATCH_SIZE) this.write();
    else this.scheduled ??= setTimeout(() => this.write(), this.waitMs);
  }

  private attachAgain(nc: NatsConnection): void {
    this.detach();
    const generation = this.generation + 1;
    this.attach(nc).catch((error: unknown) => {
      if (generation === this.generation) this.options.onFailed(natsError(this.options.stream, error));
    });
  }

  private write(): void {
    if (this.scheduled !== null) clearTimeout(this.scheduled);
    this.scheduled = null;
    const began = performance.now();
    const { pending, position } = this;
    const last = pending.at(-1);
    if (last === undefined || position === null) return;
    this.pending = [];
    const { table, stream, clock, onRows, onFailed } = this.options;
    const next: StreamPosition = {
      created: position.created,
      sequence: last.seq,
      messageId: last.headers?.get('Nats-Msg-Id') ?? '',
    };
    let count = 0;
    try {
      this.findGaps(pending, position.sequence + 1);
      const received = pending.flatMap((message) => this.parse(message) ?? []);
      count = received.length;
      this.count(table.insertBatch(received, stream, next, clock()));
    } catch (error) {
      onFailed({
        what: `can't write to ${table.path}: ${messageOf(error)}`,
        next: 'Free space on its disk; the hub retries',
      });
      return;
    }
    this.position = next;
    this.lastSequence = Math.max(this.lastSequence, next.sequence + last.info.pending);
    this.progressAt = performance.now();
    this.waitMs = Math.min(LONGEST_WAIT_MS, Math.max(SHORTEST_WAIT_MS, 2 * (this.progressAt - began)));
    this.received += pending.length;
    if (count > 0) onRows();
  }

  private findGaps(messages: readonly JsMsg[], first: number): void {
    let expected = first;
    for (const { seq } of messages) {
      if (seq > expected) this.reportMissing(expected, seq - 1, 'skipped');
      expected = seq + 1;
    }
  }

  private parse(message: JsMsg): Received | null {
    const { subject } = message;
    const body = message.string();
    const event = parseFleet(subject, body);
    if (typeof event !== 'string')
      return { subject, body, event, time: Number(message.timestampNanos / 1_000_000n) };
    this.refuse(message, event);
    return null;
  }

  private refuse(message: JsMsg, why: string): void {
    this.refused++;
    if (this.refused > 10) return; // a publisher must not be able to flood the journal
    const { subject, seq } = message;
    this.options.log.warn({ subject: subject.slice(0, 200), sequence: seq }, `message rejected: ${why}`);
  }

  private count(outcomes: InsertOutcomes): void {
    for (const key of ['inserted', 'duplicates', 'held', 'disordered'] as const)
      this.total[key] += outcomes[key];
  }

  /** Checks the stream's last sequence number, its identity, and whether messages are overdue. */
  private async checkStream(manager: JetStreamManager, generation: number): Promise<void> {
    const { stream, table, clock, onRows, onFailed } = this.options;
    try {
      const expired = table.expire(clock());
      this.count(expired);
      if (expired.inserted > 0) onRows();
      const { state, created } = await manager.streams.info(stream);
      const { position } = this;
      if (generation !== this.generation || position === null) return;
      if (created !== position.created || state.last_seq < position.sequence) {
        onFailed({
          what: `stream ${stream} was created again, or restored from a backup`,
          next: 'The hub reconnects and compares the stream with what it has read',
        });
        return;
      }
      this.lastSequence = Math.max(state.last_seq, position.sequence);
    } catch (error) {
      if (generation === this.generation) onFailed(natsError(stream, error));
      return;
    }
    const behind = this.lastSequence > (this.position?.sequence ?? 0);
    if (!behind) this.progressAt = performance.now();
    else if (performance.now() - this.progressAt > STALLED_MS)
      onFailed({
        what: `stream ${stream} has new messages, but the hub receives none`,
        next: 'The hub reconnects and creates its consumer again',
      });
  }
}
