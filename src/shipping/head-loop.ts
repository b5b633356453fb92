/**
 * The loop of a sink that wants what is fresh and nothing else: fail2ban's.
 *
 * PROMISES. A fresh failure is written within a second of its commit, whatever else is under way: a first start on millions of rows, a walk of another
 * history, a replay, retention, exports, searches. Each once, over kill -9 too. Nothing is held back from retention.
 * STATES. Opening (the sink reads its own files), following, backing off (the sink is down; the heads stay where they are).
 * No cursor is kept. Each source has a head of its own (table-head.ts), found at each start by paging down from the highest id.
 * FAILURES. Crash before the line: the row is still fresh and is read again. Crash after it: the sink knows it from its own lines. Down for longer
 * than 50 s: rows that have become old are counted as withheld. A source that can't be read holds up no other. A read that throws, or a sink that
 * hangs, fails the watchdog as in delivery-loop.ts. After a missed wake, the loop reads by itself within half a minute.
 * THREAD. Pages are small, and between two the others get their turn, as this gets its turn between theirs.
 */
import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditEvent } from '../audit/event.js';
import type { SinkConfig } from '../config/schema.js';
import { messageOf } from '../errors.js';
import type { EventSink } from '../sinks/sink.js';
import { backoff } from './backoff.js';
import { DELIVERY_LIMIT_MS, DeliveryTimeout } from './delivery-timeout.js';
import { whyRejected } from './event-filter.js';
import { Health } from './loop-health.js';
import type { LoopStatus } from './loop-status.js';
import type { Feed } from './source-feed.js';
import { type HeadPage, TableHead } from './table-head.js';
import { WakeableSleep } from './wakeable-sleep.js';

const TICK_MS = 1_000;
/** Reads without a wake this often. Failures are fresh for 50 s. */
const OWN_READ_MS = 30_000;
/** Failures are fresh for 50 s: a sink that is down is not left alone for long. */
const MOST_PAUSE_MS = 2_000;
/** After a read that could not see everything: a lock ends soon. */
const AGAIN_MS = 100;
/** A table that could not be seen for so long is not locked but missing, or closed to the daemon: then each second is enough. */
const SOON_OVER_MS = 5_000;

export interface HeadLoopOptions {
  readonly name: string;
  readonly config: Pick<SinkConfig, 'type' | 'events'>;
  readonly sink: EventSink;
  readonly feeds: readonly Feed[];
  readonly clock: () => number;
  readonly log: Logger;
}

export class HeadLoop {
  private readonly heads: readonly TableHead[];
  private readonly health: Health;
  private readonly alarm = new WakeableSleep();
  private readonly deadline = new DeliveryTimeout();
  private readonly aborting = new AbortController();
  private ending = false;
  private opened = false;
  private delivered = 0;
  private lastTick = 0;
  private lastRead = Number.NEGATIVE_INFINITY;
  private sawAllAt = performance.now();
  private running: Promise<void> | null = null;
  private markSettled: () => void = () => undefined;
  /** Resolves when the sink was opened and has what was fresh then, or has failed once. */
  readonly settled: Promise<void> = new Promise((resolve) => {
    this.markSettled = resolve;
  });

  constructor(private readonly options: HeadLoopOptions) {
    const { name, feeds, clock, log } = options;
    this.health = new Health(name, clock, log);
    // Revisions of Postern's rows are the daemon's own: what was decided of them is known before the rows are met as they are now.
    const order = feeds.toSorted((a, b) => Number(b.name === 'auditd') - Number(a.name === 'auditd'));
    this.heads = order.map((feed) => new TableHead(feed.source, () => feed.mark.timeline, clock));
  }

  get name(): string {
    return this.options.name;
  }

  start(): void {
    this.running ??= this.run();
  }

  /** Something may have changed. */
  wake(): void {
    this.alarm.ring();
  }

  /** Ships what is there, for at most `limitMs`; closes the sink. */
  async stop(limitMs: number): Promise<void> {
    this.ending = true;
    this.alarm.end();
    const timer = setTimeout(() => this.abort(), limitMs);
    await this.running;
    clearTimeout(timer);
    await this.options.sink.close();
    this.health.enter('stopped');
  }

  hung(): string | null {
    return this.health.hung();
  }

  /** No cursor, no lag, nothing held: what it has is what it last saw. */
  status(): LoopStatus {
    const { config, sink } = this.options;
    return {
      type: config.type,
      delivery_class: sink.deliveryClass,
      required: false,
      state: this.health.state,
      since: this.health.since,
      cursors: {},
      held_from: {},
      lag_events: 0,
      lag_seconds: 0,
      delivered_total: this.delivered,
      errors_total: this.health.errors,
      last_error: this.health.lastError,
      figures: sink.figures(),
      looks: Object.fromEntries(this.heads.map((head) => [head.name, head.status])),
      verdicts: sink.verdicts?.() ?? {},
    };
  }

  private async run(): Promise<void> {
    while (!this.aborting.signal.aborted) {
      try {
        if (!this.opened) await this.open();
        this.alarm.reset();
        const progressed = await this.turn();
        await this.tick();
        this.health.recovered();
        if (progressed) {
          await setImmediate(); // the control socket, timers and the watcher get their turn, and the other loops
          continue;
        }
        this.markSettled();
        if (this.ending) return;
        await this.rest();
      } catch (error) {
        if (this.aborting.signal.aborted) return;
        await this.handleFailure(error);
      }
    }
  }

  private async open(): Promise<void> {
    this.health.enter('opening', DELIVERY_LIMIT_MS);
    await this.options.sink.open(null, this.aborting.signal);
    this.opened = true;
  }

  /** A page of each head; true if there may be more. What is above a head goes before what is left below one. */
  private async turn(): Promise<boolean> {
    this.lastRead = performance.now();
    let progressed = false;
    for (const head of this.heads)
      progressed = (await this.deliver(head, this.ask(head, 'next'))) || progressed;
    if (this.ending) return progressed;
    for (const head of this.heads)
      progressed = (await this.deliver(head, this.ask(head, 'below'))) || progressed;
    return progressed;
  }

  private ask(head: TableHead, what: 'next' | 'below'): HeadPage | null {
    try {
      return head[what]();
    } catch (error) {
      // A source maps every error it knows; what is left is a defect, and holds up no other source.
      this.options.log.error(
        { source: head.name, err: error },
        `reading ${head.name} failed: ${messageOf(error)}`,
      );
      return null;
    }
  }

  private async deliver(head: TableHead, page: HeadPage | null): Promise<boolean> {
    if (page === null) return false;
    const { sink, config } = this.options;
    const wanted = page.events.filter((event) => whyRejected(config.events, event) === null);
    for (let rest: readonly AuditEvent[] = wanted; rest.length > 0; ) {
      this.health.enter('delivering', DELIVERY_LIMIT_MS);
      const upTo = rest.at(-1)?.sequence ?? 0;
      const timeline = rest[0]?.timeline ?? 1;
      const batch = { source: head.name, timeline, events: rest, upTo };
      const flags = {
        ...(page.uncounted ? ({ uncounted: true } as const) : {}),
        ...(page.idsReused ? ({ idsReused: true } as const) : {}),
      };
      const result = await this.deadline.limit((signal) => sink.deliver({ ...batch, ...flags }, signal));
      rest = rest.filter(({ sequence }) => sequence > result.upTo);
    }
    this.delivered += wanted.length;
    page.done();
    return true;
  }

  /** Until something rings, a look could not see everything, or it is time for one. */
  private async rest(): Promise<void> {
    for (;;) {
      const blind = this.heads.some((head) => !head.sawAll);
      if (!blind) this.sawAllAt = performance.now();
      const isBrief = blind && performance.now() - this.sawAllAt < SOON_OVER_MS;
      const period = blind ? TICK_MS : (this.options.sink.tickPeriod?.() ?? TICK_MS);
      this.health.enter('waiting for events', period);
      if (await (isBrief ? this.alarm.sleep(AGAIN_MS) : this.alarm.rest(period))) return;
      if (blind) return;
      await this.tickSink();
      if (performance.now() - this.lastRead >= OWN_READ_MS) return;
    }
  }

  private async tick(): Promise<void> {
    if (performance.now() - this.lastTick >= TICK_MS) await this.tickSink();
  }

  private async tickSink(): Promise<void> {
    this.lastTick = performance.now();
    this.health.renew(DELIVERY_LIMIT_MS);
    await this.options.sink.tick?.();
  }

  private abort(): void {
    this.aborting.abort();
    this.deadline.abort('the daemon stops');
  }

  private async handleFailure(error: unknown): Promise<void> {
    this.opened = false;
    this.markSettled();
    this.health.failed(error);
    const ms = Math.min(MOST_PAUSE_MS, backoff(this.health.failures));
    this.health.enter('backing off', ms);
    await this.alarm.pause(ms);
    if (this.ending) this.abort();
  }
}
