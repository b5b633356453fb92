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
import { messageOf } from '../errors.js';
import { parseFleet } from '../formats/fleet.js';
import type { HubTable, Received, StreamPosition, Taken } from './hub-table.js';
import type { Part } from './link.js';

/** Messages that may be under way to us; what has come together is written together. */
const UNDER_WAY = 2_000;
const HEARTBEAT_MS = 2_000;
/** Behind for so long without one message: the consumer is made anew. */
const STALLED_MS = 15_000;
const LOOK_MS = 5_000;

export interface HubConsumerOptions {
  readonly stream: string;
  readonly table: HubTable;
  readonly clock: () => number;
  readonly log: Logger;
  /** Rows were written. */
  readonly onRows: () => void;
  /** Messages are gone that were never read here, or the stream is another one. */
  readonly onGap: (details: Readonly<Record<string, unknown>>) => void;
  /** What was read can't be written, or nothing comes: the connection is to be made anew. */
  readonly onFailed: (reason: string) => void;
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
}

/**
 * Reads the stream in its order from where the table says. No acknowledgements: the position moves with the rows, so a hub that
 * was killed, or put back from a backup, goes on exactly behind its last row.
 */
export class HubConsumer implements Part {
  private messages: ConsumerMessages | null = null;
  private pending: JsMsg[] = [];
  private scheduled: NodeJS.Immediate | null = null;
  private timer: NodeJS.Timeout | null = null;
  private position: StreamPosition | null = null;
  private lastSequence = 0;
  private progressAt = 0;
  /** Messages of an earlier connection count no more. */
  private generation = 0;
  private received = 0;
  private refused = 0;
  private readonly total: Taken = { inserted: 0, duplicates: 0, held: 0, disordered: 0 };

  constructor(private readonly options: HubConsumerOptions) {
    this.position = options.table.position(options.stream);
  }

  async attach(nc: NatsConnection): Promise<void> {
    const { stream } = this.options;
    const js = jetstream(nc, { timeout: 10_000 });
    const manager = await js.jetstreamManager(false);
    const info = await manager.streams.info(stream);
    this.position = await this.begin(manager, info);
    this.lastSequence = info.state.last_seq;
    const consumer = await js.consumers.get(stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.position.sequence + 1,
    });
    this.progressAt = performance.now();
    const generation = ++this.generation;
    this.messages = await consumer.consume({
      max_messages: UNDER_WAY,
      idle_heartbeat: HEARTBEAT_MS,
      expires: 2 * HEARTBEAT_MS + 1_000,
      callback: (message) => {
        if (generation === this.generation) this.take(message);
      },
    });
    this.timer = setInterval(() => void this.look(manager), LOOK_MS);
  }

  detach(): void {
    this.generation++;
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    this.messages?.stop();
    this.messages = null;
    if (this.scheduled !== null) clearImmediate(this.scheduled);
    this.scheduled = null;
    this.pending = []; // not written, so not passed
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
      held: this.options.table.heldNow,
    };
  }

  /** Where to go on: behind the last row, if the stream is still the one that it came from. */
  private async begin(manager: JetStreamManager, { created, state }: StreamInfo): Promise<StreamPosition> {
    const { stream, table, onGap, log } = this.options;
    const known = table.position(stream);
    if (known === null) return { created, sequence: 0, messageId: '' };
    const anew = { created, sequence: 0, messageId: '' };
    if (known.created !== created || (await this.isOther(manager, known, state.last_seq))) {
      log.warn(
        { stream },
        `the stream ${stream} is another one, or was put back: it is read from its beginning`,
      );
      onGap({ stream, reason: 'another stream', read_up_to: known.sequence });
      return anew;
    }
    if (state.first_seq > known.sequence + 1) {
      const [from, to] = [known.sequence + 1, state.first_seq - 1];
      log.error(
        { stream, from, to },
        `messages ${from} to ${to} of ${stream} are gone before the hub has read them`,
      );
      onGap({ stream, reason: 'expired', from, to, count: to - from + 1 });
    }
    return known;
  }

  /** A stream that lost its end has other messages at the same numbers. Of those that were read the last is compared. */
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

  private take(message: JsMsg): void {
    this.pending.push(message);
    this.scheduled ??= setImmediate(() => this.write());
  }

  private write(): void {
    this.scheduled = null;
    const { pending, position } = this;
    const last = pending.at(-1);
    if (last === undefined || position === null) return;
    this.pending = [];
    const { table, stream, clock, onRows, onFailed } = this.options;
    const received: Received[] = [];
    for (const message of pending) {
      const { subject } = message;
      const body = message.string();
      const event = parseFleet(subject, body);
      if (typeof event !== 'string') received.push({ subject, body, event });
      else this.refuse(message, event);
    }
    const next: StreamPosition = {
      created: position.created,
      sequence: last.seq,
      messageId: last.headers?.get('Nats-Msg-Id') ?? '',
    };
    try {
      this.count(table.take(received, stream, next, clock()));
    } catch (error) {
      onFailed(`${table.path} takes no rows: ${messageOf(error)}`);
      return;
    }
    this.position = next;
    this.lastSequence = Math.max(this.lastSequence, next.sequence + last.info.pending);
    this.progressAt = performance.now();
    this.received += pending.length;
    if (received.length > 0) onRows();
  }

  private refuse(message: JsMsg, why: string): void {
    this.refused++;
    if (this.refused > 10) return; // whoever can publish could fill the journal
    const { subject, seq } = message;
    this.options.log.warn({ subject: subject.slice(0, 200), sequence: seq }, `message left out: ${why}`);
  }

  private count(taken: Taken): void {
    for (const key of ['inserted', 'duplicates', 'held', 'disordered'] as const)
      this.total[key] += taken[key];
  }

  /** How far the stream has got; whether something should have come and has not. */
  private async look(manager: JetStreamManager): Promise<void> {
    const { stream, table, clock, onRows, onFailed } = this.options;
    try {
      const expired = table.expire(clock());
      this.count(expired);
      if (expired.inserted > 0) onRows();
      const { state } = await manager.streams.info(stream);
      this.lastSequence = Math.max(state.last_seq, this.position?.sequence ?? 0);
    } catch (error) {
      onFailed(messageOf(error));
      return;
    }
    const behind = this.lastSequence > (this.position?.sequence ?? 0);
    if (!behind) this.progressAt = performance.now();
    else if (performance.now() - this.progressAt > STALLED_MS)
      onFailed('the stream has messages, and none come');
  }
}
