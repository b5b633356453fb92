import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { SinkConfig } from '../config/schema.js';
import { AuditdError, messageOf } from '../errors.js';
import { deliverRows, type SinkRows, sequencesOf } from '../sinks/deliver-rows.js';
import type { BatchOrigin, Delivered, Sink } from '../sinks/sink.js';
import { backoff, pauseAfter } from './backoff.js';
import { DELIVERY_LIMIT_MS, DeliveryTimeout } from './delivery-timeout.js';
import { whyRejected } from './event-filter.js';
import { Health, type LoopState } from './loop-health.js';
import type { LoopStatus } from './loop-status.js';
import { type SinkInput, sinkInput } from './page-collector.js';
import { Replay, type ReplayRequest, type ReplayStatus, refuseReplay } from './replay.js';
import { type SinkPosition, SinkPositions } from './sink-positions.js';
import type { Feed } from './source-feed.js';
import type { State } from './state.js';
import type { FeedSubscriber } from './subscribers.js';
import { WakeableSleep } from './wakeable-sleep.js';

const TICK_MS = 1_000;
/** At a stop: a collector that accepts a connection and never answers must not use up all the time. */
const OPENING_MS = 1_000;
const REPLAY_PAUSE_MS = 20;
/** In a backlog, how many turns per page the sink that is ahead gives the others, so that pages are read once for all. */
const TURNS_GIVEN = 3;

/** Every sink but fail2ban's, which has no backlog (head-loop.ts). */
export type WalkingSink = Exclude<SinkConfig, { type: 'fail2ban' }>;

export interface LoopOptions {
  readonly name: string;
  readonly config: Pick<WalkingSink, 'type' | 'events' | 'required' | 'start'>;
  readonly sink: Sink;
  readonly feeds: readonly Feed[];
  readonly state: State;
  readonly clock: () => number;
  readonly log: Logger;
  readonly random?: () => number;
  /** Asked before and during each batch: false while another server ships instead of this one. */
  readonly isActive?: () => boolean;
}

/**
 * One sink's loop: read a page, deliver it, commit the cursor. Only this loop calls its sink, so calls never overlap, and a
 * sink that is slow or down holds up no other.
 */
export class SinkLoop implements FeedSubscriber {
  readonly input: SinkInput;
  private readonly positions: SinkPositions;
  private readonly health: Health;
  private readonly alarm = new WakeableSleep();
  private ending = false;
  private readonly aborting = new AbortController();
  private readonly deadline: DeliveryTimeout;
  private opened = false;
  private delivered = 0;
  private lastTick = Number.NEGATIVE_INFINITY;
  /** Until what wakes it, it has had all that there was. */
  private hasEverything = false;
  private replaying: Replay | null = null;
  private running: Promise<void> | null = null;
  private markSettled: () => void = () => undefined;
  /** Resolves when the sink was opened, or has failed once. */
  readonly settled: Promise<void> = new Promise((resolve) => {
    this.markSettled = resolve;
  });

  constructor(private readonly options: LoopOptions) {
    const { name, state, config, clock, log } = options;
    this.input = sinkInput(options.sink.encoder, config.events);
    this.health = new Health(name, clock, log);
    this.deadline = new DeliveryTimeout(options.isActive ?? null);
    this.positions = new SinkPositions({
      sink: name,
      state,
      start: config.start,
      input: this.input,
      clock,
    });
  }

  get name(): string {
    return this.options.name;
  }

  start(): void {
    for (const feed of this.options.feeds) feed.subscribe(this);
    this.running ??= this.run();
  }

  wake(): void {
    if (this.hasEverything) this.positions.noteCaughtUp();
    this.hasEverything = false;
    this.alarm.ring();
  }

  idle(): boolean {
    return this.health.state === 'waiting for events';
  }

  delivering(): boolean {
    return this.health.state === 'delivering';
  }

  cursor(source: SourceName): number | null {
    const position = this.positions.get(source);
    const feed = this.options.feeds.find(({ name }) => name === source);
    return position === undefined || position.timeline !== feed?.mark.timeline ? null : position.upTo;
  }

  /** Ships the rest for at most `limitMs`, then aborts; a sink that does not open is aborted earlier. Closes the sink. */
  async stop(limitMs: number): Promise<void> {
    this.ending = true;
    this.alarm.end();
    const timer = setTimeout(() => this.abort(), limitMs);
    const opening = setTimeout(() => {
      if (!this.opened) this.abort();
    }, OPENING_MS);
    await this.running;
    clearTimeout(timer);
    clearTimeout(opening);
    const { sink, state, name, clock } = this.options;
    await sink.close();
    const note = sink.finalState?.() ?? null;
    if (note !== null) state.transaction(() => state.cursors.saveSinkState(name, note, clock()));
    this.health.enter('stopped');
  }

  /**
   * Sends rows again, beside new ones. @throws AuditdError `USAGE` if this sink must not get rows twice, `CONFLICT` if a replay is running
   */
  replay(request: ReplayRequest): void {
    const { config, feeds } = this.options;
    refuseReplay(this.name, config.type);
    if (this.replaying?.status.state === 'running') {
      throw new AuditdError('CONFLICT', `Sink ${this.name} has a replay running`, {
        next: 'Wait for its end',
      });
    }
    const feed = feeds.find(({ name }) => name === request.source);
    if (feed === undefined) throw new AuditdError('USAGE', `There is no source ${request.source}`);
    const last = Math.max(feed.status.maxId, feed.mark.id);
    const wanted = (event: AuditEvent) => whyRejected(config.events, event) === null;
    this.replaying = new Replay(feed.source, request, feed.mark.timeline, last, wanted);
    this.wake();
  }

  replayStatus(): ReplayStatus | null {
    return this.replaying?.status ?? null;
  }

  /** Null while all is well; else why this loop must be taken for hung. */
  hung(): string | null {
    return this.health.hung();
  }

  status(): LoopStatus {
    const { config, sink, feeds, state, name } = this.options;
    const undelivered = sink.undelivered?.(state.cursors.sinkState(name) ?? null) ?? [];
    return {
      type: config.type,
      delivery_class: sink.deliveryClass,
      required: config.required,
      state: this.health.state,
      since: this.health.since,
      ...this.positions.lag(feeds, undelivered),
      delivered_total: this.delivered,
      errors_total: this.health.errors,
      last_error: this.health.lastError,
      figures: sink.figures(),
    };
  }

  private async run(): Promise<void> {
    while (!this.aborting.signal.aborted) {
      try {
        if (this.options.isActive?.() === false) {
          this.opened = false; // the cursors that the active server sends count: this one opens its sink again when it takes over
          this.positions.reloadCursors();
          this.markSettled();
          await this.pause(TICK_MS, 'standing by');
          continue;
        }
        if (!this.opened) await this.open();
        this.alarm.reset();
        let progressed = false;
        for (const feed of this.options.feeds) progressed = (await this.shipPage(feed)) || progressed;
        progressed = (await this.replaySlice()) || progressed;
        await this.tick();
        if (!progressed) {
          if (this.ending) return;
          await this.rest();
        } else {
          await setImmediate(); // the control socket, timers and the watcher get their turn
        }
      } catch (error) {
        if (this.aborting.signal.aborted) return;
        await this.handleFailure(error);
      }
    }
  }

  /** Until there may be something to ship. While the sink has everything, the feed reads, and wakes this loop. */
  private async rest(): Promise<void> {
    do {
      this.hasEverything = this.isCaughtUp();
      const period = this.hasEverything ? (this.options.sink.tickPeriod?.() ?? TICK_MS) : TICK_MS;
      this.health.recovered();
      this.health.enter('waiting for events', period);
      const woken = await this.alarm.rest(period);
      this.hasEverything = false;
      if (woken) return;
      await this.tickSink();
    } while (this.isCaughtUp() && this.options.isActive?.() !== false);
  }

  private isCaughtUp(): boolean {
    if (this.replaying?.status.state === 'running') return false;
    return this.options.feeds.every((feed) => {
      const position = this.positions.get(feed.name);
      if (position === undefined || position.timeline !== feed.mark.timeline) return false;
      const all = position.upTo >= Math.max(feed.status.maxId, feed.mark.id);
      if (all) position.caughtUpAt = this.options.clock();
      return all;
    });
  }

  private async open(): Promise<void> {
    const { sink, state, name, clock } = this.options;
    this.health.enter('opening', DELIVERY_LIMIT_MS);
    for (const feed of this.options.feeds) this.findStart(feed);
    const saved = state.cursors.sinkState(name);
    const resume = await sink.open(saved ?? null, this.aborting.signal);
    const first = saved === undefined;
    if (first) for (const feed of this.options.feeds) this.positions.continueNumbering(feed, resume);
    state.transaction(() => {
      for (const feed of this.options.feeds) this.positions.restoreFrom(feed, resume, first);
      // Safe before the recovered rows are passed: the checkpoint carries them until a later batch shows that they were.
      state.cursors.saveSinkState(name, resume?.saved ?? null, clock());
    });
    this.opened = true;
    this.markSettled();
  }

  /** A sink that starts `now` begins above what is there at the first read, so there has to be one. False while the table can't be read. */
  private findStart(feed: Feed): boolean {
    if (this.positions.hasStart(feed)) return true;
    if (feed.status.state === 'starting') feed.readNew();
    return this.positions.saveStart(feed);
  }

  /** One page of one source: read, deliver, commit. False if there is nothing to ship now. */
  private async shipPage(feed: Feed): Promise<boolean> {
    const position = this.findStart(feed) ? this.positions.current(feed) : null;
    if (position === null) return false;
    for (let turn = 0; turn < TURNS_GIVEN && feed.isAheadOfOthers(position.upTo); turn++)
      await setImmediate();
    const page = feed.read(position.upTo, this.input, this.health.failures > 0);
    if (page === null) {
      if (position.upTo >= feed.status.maxId) position.caughtUpAt = this.options.clock();
      return false;
    }
    // With each page, whether the sink wants any of it or not: a walk over pages without a wanted event is no hang.
    this.health.enter('delivering', DELIVERY_LIMIT_MS);
    const { source, timeline } = page;
    const origin = { source, timeline, upTo: page.upTo };
    const rows = this.positions.selectRows(position, page);
    const { upTo, saved = null } = await this.deliver(feed, position, origin, rows);
    await this.commit(feed, position, timeline, upTo, saved);
    feed.release(page);
    this.health.recovered();
    return true;
  }

  /** Resolves when the sink has met the promise of its class. A batch without rows for it only moves the cursor. */
  private async deliver(
    feed: Feed,
    position: SinkPosition,
    origin: BatchOrigin,
    rows: SinkRows,
  ): Promise<Delivered> {
    const { timeline, upTo } = origin;
    const sequences = sequencesOf(rows);
    if (sequences.length === 0) return { upTo };
    const onProgress = (at: number) => this.onProgress(feed, position, timeline, at);
    const delivered = await this.deadline.limit((signal) =>
      deliverRows(this.options.sink, origin, rows, signal, onProgress),
    );
    this.delivered +=
      delivered.upTo === upTo
        ? sequences.length
        : Array.from(sequences).filter((sequence) => sequence <= delivered.upTo).length;
    return delivered;
  }

  private async replaySlice(): Promise<boolean> {
    const { replaying } = this;
    if (replaying === null || replaying.status.state !== 'running') return false;
    this.health.enter('delivering', DELIVERY_LIMIT_MS);
    const went = await this.deadline.limit((signal) => replaying.slice(this.options.sink, signal));
    if (!went && replaying.status.state === 'running') await sleep(REPLAY_PAUSE_MS); // its rate has been reached
    return replaying.status.state === 'running';
  }

  /** A delivery must be recorded before the next one: retried until the state takes it. */
  private async commit(
    feed: Feed,
    position: SinkPosition,
    timeline: number,
    upTo: number,
    saved: string | null,
  ): Promise<void> {
    const { log } = this.options;
    for (let attempt = 1; ; attempt++) {
      try {
        this.moveCursor(feed, position, timeline, upTo, saved);
        if (attempt > 1)
          log.info(
            { sink: this.name, retries: attempt - 1 },
            `state.db saves cursors again (sink ${this.name})`,
          );
        break;
      } catch (error) {
        if (this.aborting.signal.aborted) throw error;
        if (attempt === 1)
          log.error(
            { sink: this.name, err: error },
            `state.db cannot save the cursor (sink ${this.name}): ${messageOf(error)}; retrying`,
          );
        this.health.note(error);
        await this.pause(backoff(attempt, this.options.random));
      }
    }
    this.health.enter('delivering', DELIVERY_LIMIT_MS);
    this.positions.forgetRecovered(position, upTo);
  }

  /** Moves the cursor within a batch that is still being delivered. False if the state does not take it: the end of the batch moves it. */
  private onProgress(feed: Feed, position: SinkPosition, timeline: number, upTo: number): boolean {
    try {
      this.moveCursor(feed, position, timeline, upTo, null);
      return true;
    } catch {
      return false;
    }
  }

  private moveCursor(
    feed: Feed,
    position: SinkPosition,
    timeline: number,
    upTo: number,
    saved: string | null,
  ): void {
    const { state, clock } = this.options;
    const at = Math.max(upTo, position.timeline === timeline ? position.upTo : 0);
    state.transaction(() => {
      state.cursors.set(this.name, feed.name, timeline, at);
      if (saved !== null) state.cursors.saveSinkState(this.name, saved, clock());
    });
    if (position.timeline === timeline) position.upTo = at;
  }

  private async tick(): Promise<void> {
    if (performance.now() - this.lastTick >= TICK_MS) await this.tickSink();
  }

  private async tickSink(): Promise<void> {
    const { sink, state, clock, name } = this.options;
    if (sink.tick === undefined) return;
    this.lastTick = performance.now();
    this.health.renew(DELIVERY_LIMIT_MS); // an fdatasync may take as long as a delivery
    const saved = await sink.tick();
    if (saved !== null) state.transaction(() => state.cursors.saveSinkState(name, saved, clock()));
  }

  private abort(): void {
    this.aborting.abort();
    this.deadline.abort('the daemon stops');
  }

  private async pause(ms: number, state: LoopState = 'backing off'): Promise<void> {
    this.health.enter(state, ms);
    await this.alarm.pause(ms);
    if (this.ending) this.abort(); // a sink that is down is not waited for at the end
  }

  private async handleFailure(error: unknown): Promise<void> {
    this.opened = false;
    this.markSettled();
    this.health.failed(error);
    await this.pause(pauseAfter(error, this.health.failures, this.options.random));
  }
}
