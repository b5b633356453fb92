import { setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { SinkConfig } from '../config/schema.js';
import { messageOf } from '../errors.js';
import type { Sink, SinkFigures } from '../sinks/sink.js';
import { backoff } from './backoff.js';
import type { Feed, Follower } from './feed.js';
import { type Place, Places } from './places.js';
import type { State } from './state.js';

/** A delivery that takes longer is broken off and tried again; a sink that then still hangs fails the watchdog. */
const DELIVERY_LIMIT_MS = 60_000;
const OVERDUE_MS = 30_000;
const TICK_MS = 1_000;

export type LoopState = 'opening' | 'waiting for events' | 'delivering' | 'backing off' | 'stopped';

export interface LoopOptions {
  readonly name: string;
  readonly config: Pick<SinkConfig, 'type' | 'events' | 'required' | 'start'>;
  readonly sink: Sink;
  readonly feeds: readonly Feed[];
  readonly state: State;
  readonly clock: () => number;
  readonly log: Logger;
  readonly random?: () => number;
}

export interface LoopStatus {
  readonly type: string;
  readonly delivery_class: string;
  readonly required: boolean;
  readonly state: LoopState;
  readonly since: number;
  readonly cursors: Readonly<Record<string, { timeline: number; id: number }>>;
  readonly lag_events: number;
  readonly lag_seconds: number;
  readonly delivered_total: number;
  readonly errors_total: number;
  readonly last_error: { message: string; at: number } | null;
  readonly figures: SinkFigures;
}

/**
 * One sink's loop: pages in, deliveries out, cursors behind. It alone touches its sink, so calls never overlap, and a
 * sink that is slow or down holds up nobody else.
 */
export class SinkLoop implements Follower {
  private readonly places: Places;
  private ending = false;
  private woken = false;
  private deaf = false;
  private wakeUp: (() => void) | null = null;
  private readonly aborting = new AbortController();
  private delivery = new AbortController();
  private stateNow: LoopState = 'opening';
  private since: number;
  private deadline = Number.POSITIVE_INFINITY;
  private opened = false;
  private failures = 0;
  private delivered = 0;
  private errors = 0;
  private lastError: { message: string; at: number } | null = null;
  private lastTick = 0;
  private running: Promise<void> | null = null;
  private markSettled: () => void = () => undefined;
  /** Resolves when the sink was opened, or has failed once. */
  readonly settled: Promise<void> = new Promise((resolve) => {
    this.markSettled = resolve;
  });

  constructor(private readonly options: LoopOptions) {
    this.since = options.clock();
    const { name, state, config, clock } = options;
    this.places = new Places({ sink: name, state, start: config.start, events: config.events, clock });
  }

  get name(): string {
    return this.options.name;
  }

  start(): void {
    for (const feed of this.options.feeds) feed.follow(this);
    this.running ??= this.run();
  }

  wake(): void {
    if (this.deaf && !this.ending) return;
    this.woken = true;
    this.wakeUp?.();
  }

  idle(): boolean {
    return this.stateNow === 'waiting for events';
  }

  /** Ships what is there for at most `limitMs`, then breaks off; closes the sink. */
  async stop(limitMs: number): Promise<void> {
    this.ending = true;
    this.wake();
    const timer = setTimeout(() => this.abort(), limitMs);
    await this.running;
    clearTimeout(timer);
    await this.options.sink.close();
    this.enter('stopped');
  }

  /** Null while all is well; else why this loop must be taken for hung. */
  hung(): string | null {
    const overdue = performance.now() - this.deadline;
    if (overdue <= OVERDUE_MS) return null;
    return `sink ${this.name}: ${this.stateNow}, ${Math.round(overdue / 1000)} s over its time`;
  }

  status(): LoopStatus {
    const { config, sink, feeds } = this.options;
    const now = this.options.clock();
    let lagEvents = 0;
    let lagSeconds = 0;
    const cursors: Record<string, { timeline: number; id: number }> = {};
    for (const feed of feeds) {
      const place = this.places.get(feed.name);
      if (place === undefined) continue;
      cursors[feed.name] = { timeline: place.timeline, id: place.upTo };
      const behind = Math.max(0, Math.max(feed.status.maxId, feed.mark.id) - place.upTo);
      lagEvents += behind;
      if (behind > 0) lagSeconds = Math.max(lagSeconds, (now - place.caughtUpAt) / 1000);
    }
    return {
      type: config.type,
      delivery_class: sink.deliveryClass,
      required: config.required,
      state: this.stateNow,
      since: this.since,
      cursors,
      lag_events: lagEvents,
      lag_seconds: Math.round(lagSeconds * 10) / 10,
      delivered_total: this.delivered,
      errors_total: this.errors,
      last_error: this.lastError,
      figures: sink.figures(),
    };
  }

  private enter(state: LoopState, limitMs = Number.POSITIVE_INFINITY): void {
    const now = this.options.clock();
    if (state !== this.stateNow) this.since = now;
    this.stateNow = state;
    this.deadline = performance.now() + limitMs; // monotonic: a clock that is set is no hang
  }

  private async run(): Promise<void> {
    while (!this.aborting.signal.aborted) {
      try {
        if (!this.opened) await this.open();
        this.woken = false;
        let progressed = false;
        for (const feed of this.options.feeds) progressed = (await this.step(feed)) || progressed;
        await this.tick();
        if (!progressed) {
          if (this.ending) return;
          this.recovered();
          this.enter('waiting for events', TICK_MS);
          await this.sleep(TICK_MS);
        } else {
          await setImmediate(); // the control socket, timers and the watcher get their turn
        }
      } catch (error) {
        if (this.aborting.signal.aborted) return;
        await this.failed(error);
      }
    }
  }

  private async open(): Promise<void> {
    const { sink, state, name, clock } = this.options;
    this.enter('opening', DELIVERY_LIMIT_MS);
    const saved = state.cursors.saved(name);
    const resume = await sink.open(saved ?? null);
    state.transaction(() => {
      for (const feed of this.options.feeds) this.places.settle(feed, resume, saved === undefined);
      state.cursors.save(name, null, clock());
    });
    this.opened = true;
    this.markSettled();
  }

  private async step(feed: Feed): Promise<boolean> {
    const place = this.places.at(feed);
    if (place === null) return false;
    const page = feed.page(place.upTo);
    if (page === null) {
      if (place.upTo >= feed.status.maxId) place.caughtUpAt = this.options.clock();
      return false;
    }
    const events = this.places.wanted(place, feed.name, page);
    let upTo = page.upTo;
    let saved: string | null = null;
    if (events.length > 0) {
      this.enter('delivering', DELIVERY_LIMIT_MS);
      const batch = { source: feed.name, timeline: page.timeline, events, upTo: page.upTo };
      const result = await this.limited((signal) => this.options.sink.deliver(batch, signal));
      upTo = result.upTo;
      saved = result.saved ?? null;
      this.delivered += upTo === page.upTo ? events.length : events.filter((e) => e.sequence <= upTo).length;
    }
    await this.commit(feed, place, page.timeline, upTo, saved);
    this.recovered();
    return true;
  }

  /** Breaks off what takes too long. The controller is used again as long as nothing was broken off: pages come by the thousand. */
  private async limited<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { delivery } = this;
    const timer = setTimeout(() => {
      this.delivery = new AbortController();
      delivery.abort(new Error(`not delivered within ${DELIVERY_LIMIT_MS / 1_000} s`));
    }, DELIVERY_LIMIT_MS);
    try {
      return await work(delivery.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What is written must be known to be written before anything else is: tried until the state takes it. */
  private async commit(
    feed: Feed,
    place: Place,
    timeline: number,
    upTo: number,
    saved: string | null,
  ): Promise<void> {
    const { state, clock, log } = this.options;
    for (let attempt = 1; ; attempt++) {
      try {
        state.transaction(() => {
          state.cursors.set(
            this.name,
            feed.name,
            timeline,
            Math.max(upTo, place.timeline === timeline ? place.upTo : 0),
          );
          if (saved !== null) state.cursors.save(this.name, saved, clock());
        });
        if (attempt > 1)
          log.info(
            { sink: this.name, retries: attempt - 1 },
            `state.db takes cursors again (sink ${this.name})`,
          );
        break;
      } catch (error) {
        if (this.aborting.signal.aborted) throw error;
        if (attempt === 1)
          log.error(
            { sink: this.name, err: error },
            `state.db takes no cursor (sink ${this.name}): ${messageOf(error)}; trying again`,
          );
        this.note(error);
        await this.pause(backoff(attempt, this.options.random));
      }
    }
    if (place.timeline === timeline) place.upTo = Math.max(place.upTo, upTo);
    for (const id of place.found.keys()) if (id <= upTo) place.found.delete(id);
  }

  private async tick(): Promise<void> {
    const { sink, state, clock, name } = this.options;
    const now = clock();
    if (sink.tick === undefined || (now - this.lastTick < TICK_MS && now >= this.lastTick)) return;
    this.lastTick = now;
    const saved = await sink.tick();
    if (saved !== null) state.transaction(() => state.cursors.save(name, saved, now));
  }

  private abort(): void {
    this.aborting.abort();
    this.delivery.abort(new Error('the daemon stops'));
  }

  /** Until `wake`, the end, or `ms` have passed. */
  private async sleep(ms: number): Promise<void> {
    if (this.woken || this.ending) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeUp = null;
  }

  private async pause(ms: number): Promise<void> {
    this.enter('backing off', ms);
    this.deaf = true; // new rows are no reason to come back earlier; the end is
    this.woken = false;
    await this.sleep(ms);
    this.deaf = false;
    if (this.ending) this.abort(); // a sink that is down is not waited for at the end
  }

  private note(error: unknown): void {
    this.errors++;
    this.lastError = { message: messageOf(error), at: this.options.clock() };
  }

  private async failed(error: unknown): Promise<void> {
    this.opened = false;
    this.markSettled();
    this.failures++;
    this.note(error);
    if (this.failures === 1) {
      this.options.log.error(
        { sink: this.name, err: error },
        `sink ${this.name} is down: ${messageOf(error)}; trying again`,
      );
    }
    await this.pause(backoff(this.failures, this.options.random));
  }

  private recovered(): void {
    if (this.failures === 0) return;
    this.options.log.info({ sink: this.name, retries: this.failures }, `sink ${this.name} is back`);
    this.failures = 0;
  }
}
