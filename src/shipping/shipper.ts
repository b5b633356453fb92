import type { Logger } from 'pino';
import type { AuditEvent, SourceName } from '../audit/event.js';
import type { SinkConfig } from '../config/schema.js';
import { AuditdError } from '../errors.js';
import type { EventSink, Sink } from '../sinks/sink.js';
import type { AuditSource } from '../source/source.js';
import { SinkLoop, type WalkingSink } from './delivery-loop.js';
import type { FeedStatus } from './feed-status.js';
import type { FirstReadObserver } from './first-read.js';
import { HeadLoop } from './head-loop.js';
import type { LoopStatus } from './loop-status.js';
import type { LostRows } from './lost-rows.js';
import { Feed } from './source-feed.js';
import type { State } from './state.js';

/** How long the loops may ship what is left, of the 5 s that a stop may take. */
const DRAIN_MS = 3_000;

export interface ConfiguredSink {
  readonly name: string;
  readonly config: SinkConfig;
  readonly sink: Sink;
  /** The sources that it is given; all, if left out. */
  readonly sources?: readonly SourceName[];
  /** See `LoopOptions`. */
  readonly isActive?: () => boolean;
}

export interface ShipperOptions {
  readonly sources: readonly AuditSource[];
  readonly sinks: readonly ConfiguredSink[];
  readonly state: State;
  readonly clock: () => number;
  readonly log: Logger;
  readonly onReplaced: (
    source: SourceName,
    timeline: number,
    reason: string,
    lost: readonly LostRows[],
  ) => void;
  /** What has just been written, as soon as it was read. */
  readonly onLive?: (events: readonly AuditEvent[]) => void;
  /** See `FeedOptions`. */
  readonly isWatched?: () => boolean;
  /** See `FeedOptions`. */
  readonly onRevised?: () => void;
  readonly editsMs?: number;
  /** Receives rows of Postern's table and of the daemon's own as they are read for the first time. */
  readonly observer?: FirstReadObserver | null;
}

export interface ShipperStatus {
  readonly sources: Readonly<Record<string, FeedStatus>>;
  readonly sinks: Readonly<Record<string, LoopStatus>>;
}

/** A feed per source, a loop per sink, nothing shared between loops but the feeds and state.db. */
export class Shipper {
  private readonly feeds: readonly Feed[];
  private readonly loops: readonly SinkLoop[];
  /** Of the sinks that want what is fresh and nothing else. */
  private readonly headLoops: readonly HeadLoop[];
  private readonly state: State;

  constructor(options: ShipperOptions) {
    const { sources, sinks, state, clock, log, onReplaced, onLive, isWatched, onRevised, editsMs, observer } =
      options;
    this.state = state;
    const followers = sinks.filter(followsHead);
    const walkers = sinks.filter(walksAll);
    const names = walkers.map(({ name }) => name);
    this.feeds = sources.map(
      (source) =>
        new Feed({
          source,
          state,
          clock,
          log,
          sinks: () => names,
          onReplaced: (timeline, reason, lost) => onReplaced(source.name, timeline, reason, lost),
          onWake: () => {
            for (const loop of this.headLoops) loop.wake();
          },
          ...(onLive === undefined ? {} : { onLive }),
          ...(isWatched === undefined ? {} : { isWatched }),
          ...(onRevised === undefined ? {} : { onRevised }),
          ...(editsMs === undefined ? {} : { editsMs }),
          ...(observer && source.name !== 'fleet' ? { observer } : {}),
        }),
    );
    const feedsOf = (given: ConfiguredSink['sources']) =>
      this.feeds.filter((feed) => given?.includes(feed.name) !== false);
    this.headLoops = followers.map(
      ({ name, config, sink, sources: given }) =>
        new HeadLoop({ name, config, sink, feeds: feedsOf(given), clock, log }),
    );
    this.loops = walkers.map(
      ({ name, config, sink, sources: given, isActive }) =>
        new SinkLoop({
          name,
          config,
          sink,
          feeds: feedsOf(given),
          state,
          clock,
          log,
          ...(isActive === undefined ? {} : { isActive }),
        }),
    );
  }

  /** Resolves when each sink has been opened, or has failed once and is being retried. */
  async start(): Promise<void> {
    for (const feed of this.feeds) feed.reloadMark();
    this.forgetHeadCursors();
    for (const loop of this.headLoops) loop.start();
    for (const loop of this.loops) loop.start();
    for (const feed of this.feeds) feed.start();
    await Promise.all(this.all.map((loop) => loop.settled));
  }

  /**
   * Ships the rest, for at most 3 s, and closes the sinks. Rows that are left are read again at the next start.
   * @throws if the state does not take the last checkpoints; everything has stopped then, too
   */
  async stop(): Promise<void> {
    const loops = await Promise.allSettled(this.all.map((loop) => loop.stop(DRAIN_MS)));
    await Promise.all(this.feeds.map((feed) => feed.close()));
    const failed = loops.find((loop) => loop.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    this.state.transaction(() => undefined); // the fingerprints that are still in memory
  }

  /** @throws AuditdError `NOT_FOUND` if there is no such sink, `USAGE` if rows can't be sent to it again */
  loop(name: string): SinkLoop {
    const found = this.loops.find((loop) => loop.name === name);
    if (found !== undefined) return found;
    if (this.headLoops.some((loop) => loop.name === name)) {
      const why = 'it wants the failures of the last 50 s and nothing else';
      throw new AuditdError('USAGE', `Sink ${name} is of type fail2ban: ${why}`, {
        next: 'Only network sinks are sent rows again',
      });
    }
    const names = this.all.map((loop) => loop.name).join(', ');
    throw new AuditdError('NOT_FOUND', `There is no sink "${name}"`, { next: `Configured are: ${names}` });
  }

  /** Why the watchdog must not be fed; empty while every loop works or waits for something known. */
  hung(): string[] {
    return this.all.map((loop) => loop.hung()).filter((reason) => reason !== null);
  }

  status(): ShipperStatus {
    return {
      sources: Object.fromEntries(this.feeds.map((feed) => [feed.name, feed.status])),
      sinks: Object.fromEntries(this.all.map((loop) => [loop.name, loop.status()])),
    };
  }

  private get all(): ReadonlyArray<SinkLoop | HeadLoop> {
    return [...this.loops, ...this.headLoops];
  }

  /** Up to 0.1.0 such a sink had cursors, which would hold rows back for ever. */
  private forgetHeadCursors(): void {
    const { state } = this;
    const known = state.cursors.known();
    const names = this.headLoops.map(({ name }) => name).filter((name) => known.includes(name));
    if (names.length > 0) state.transaction(() => names.map((name) => state.cursors.forget(name)));
  }
}

type Walking = ConfiguredSink & { readonly config: WalkingSink };

type Following = ConfiguredSink & { readonly sink: EventSink };

/** fail2ban's: it wants what is fresh, and takes events. */
function followsHead(sink: ConfiguredSink): sink is Following {
  return sink.config.type === 'fail2ban';
}

function walksAll(sink: ConfiguredSink): sink is Walking {
  return sink.config.type !== 'fail2ban';
}
