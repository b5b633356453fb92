import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { type Diagnosis, explained } from '../errors.js';
import { subjectToken } from '../formats/fleet-message.js';
import { type PeriodicTask, ticker } from '../ticker.js';
import type { Part } from './fleet-connection.js';
import { type Beat, parseBeat } from './heartbeat-message.js';
import { bucketTrouble, SERVERS_TTL_MS, serversBucket } from './kv-buckets.js';
import { RetryingSubscription } from './retrying-subscription.js';

const READS_IN_PARALLEL = 50;
const CHECK_MS = 1_000;
/** Delay before a failed read of the bucket is retried. */
const RETRY_MS = 10_000;

/** A server of the fleet, as its heartbeats describe it. */
export interface Member {
  readonly token: string;
  readonly beat: Beat;
  /** How far its clock is ahead of this host's, ms, including the latency of the message. */
  readonly clockDifference: number | null;
  /** Milliseconds since its last heartbeat. */
  readonly silentFor: number;
  readonly silent: boolean;
}

interface Known {
  beat: Beat;
  clockDifference: number | null;
  /** Monotonic, ms; a heartbeat from before this hub started counts with its age. */
  heardAt: number;
  silent: boolean;
}

export interface ServerRegistryOptions {
  readonly stream: string;
  /** Milliseconds without a heartbeat after which a server is silent. */
  readonly silentAfter: number;
  readonly clock: () => number;
  /** Tokens of servers that were silent before a restart: they are not reported again. */
  readonly silentBefore: readonly string[];
  readonly log: Logger;
  readonly onSilent: (member: Member) => void;
  readonly onBack: (member: Member) => void;
  readonly onForgotten: () => void;
}

/** The servers of the fleet by their heartbeats. While the hub itself has no connection, no server counts as silent. */
export class ServerRegistry implements Part {
  private readonly known = new Map<string, Known>();
  private periodic: PeriodicTask | null = null;
  private attachedAt = 0;
  private nc: NatsConnection | null = null;
  /** When the bucket is read next, by the monotonic clock; null if it was read. */
  private readBucketAt: number | null = null;
  private problem: Diagnosis | null = null;
  private readonly subscription: RetryingSubscription;

  constructor(private readonly options: ServerRegistryOptions) {
    const { stream, clock, log } = options;
    const prefix = `$KV.${serversBucket(stream)}.`;
    this.subscription = new RetryingSubscription(`${prefix}*`, 'heartbeats of servers', log, (message) => {
      const token = message.subject.slice(prefix.length);
      if (message.headers?.has('KV-Operation') === true) this.forget(token);
      else this.recordHeartbeat(token, message.string(), clock(), true);
    });
  }

  async attach(nc: NatsConnection): Promise<void> {
    this.nc = nc;
    this.subscription.attach(nc);
    await this.readBucket(nc);
    if (this.nc !== nc) return;
    this.attachedAt = performance.now();
    this.periodic = ticker.every(Math.min(CHECK_MS, this.options.silentAfter / 3), () => this.checkSilence());
  }

  /** Reads all entries. A failure is retried later: events arrive without this list. */
  private async readBucket(nc: NatsConnection): Promise<void> {
    const bucket = serversBucket(this.options.stream);
    const began = performance.now();
    this.readBucketAt = null;
    try {
      const kv = await new Kvm(jetstream(nc, { timeout: 10_000 })).open(bucket, { bindOnly: true });
      const keys: string[] = [];
      for await (const key of await kv.keys()) keys.push(key);
      for (let at = 0; at < keys.length; at += READS_IN_PARALLEL) {
        const entries = await Promise.all(keys.slice(at, at + READS_IN_PARALLEL).map((key) => kv.get(key)));
        if (this.nc !== nc) return;
        for (const entry of entries)
          if (entry !== null) this.recordHeartbeat(entry.key, entry.string(), entry.created.getTime(), false);
      }
      // Entries that were removed while the hub was not connected.
      for (const [token, { heardAt }] of this.known)
        if (heardAt < began && !keys.includes(token)) this.forget(token);
      this.problem = null;
    } catch (error) {
      if (this.nc !== nc || nc.isClosed()) throw error;
      const trouble = bucketTrouble('the list of servers', bucket, error);
      if (this.problem === null)
        this.options.log.error({ err: error }, `fleet: ${explained(trouble.what, trouble.next)}`);
      this.problem = trouble;
      this.readBucketAt = performance.now() + RETRY_MS;
    }
  }

  detach(): void {
    this.periodic?.close();
    this.periodic = null;
    this.nc = null;
    this.subscription.detach();
  }

  trouble(): Diagnosis | null {
    return this.problem ?? this.subscription.trouble();
  }

  all(): Member[] {
    const now = performance.now();
    return [...this.known]
      .map(([token, known]) => memberOf(token, known, now))
      .sort((a, b) => (a.token < b.token ? -1 : 1));
  }

  /** The server's entry was removed: it is not part of the fleet any more. */
  private forget(token: string): void {
    if (this.known.delete(token)) this.options.onForgotten();
  }

  private recordHeartbeat(token: string, text: string, at: number, live: boolean): void {
    const beat = parseBeat(text);
    if (beat === null || subjectToken(beat.server) !== token) return; // permissions protect the key, not the content
    const now = performance.now();
    const heardAt = live ? now : now - Math.max(0, this.options.clock() - at);
    const before = this.known.get(token);
    if (before !== undefined && before.heardAt > heardAt) return;
    const silent = before?.silent ?? this.options.silentBefore.includes(token);
    const clockDifference = live ? beat.time - at : (before?.clockDifference ?? null);
    this.known.set(token, { beat, clockDifference, heardAt, silent });
  }

  private checkSilence(): void {
    const { silentAfter, onSilent, onBack } = this.options;
    const now = performance.now();
    // FleetConnection notices a connection that ends meanwhile.
    if (this.nc !== null && this.readBucketAt !== null && this.readBucketAt <= now)
      this.readBucket(this.nc).catch(() => undefined);
    for (const [token, known] of this.known) {
      if (now - known.heardAt > SERVERS_TTL_MS) {
        this.forget(token); // its entry has expired, which NATS does not announce
        continue;
      }
      // A new connection has delivered no heartbeats yet: the gap is this hub's own.
      const silent = now - Math.max(known.heardAt, known.silent ? 0 : this.attachedAt) > silentAfter;
      if (silent === known.silent) continue;
      known.silent = silent;
      (silent ? onSilent : onBack)(memberOf(token, known, now));
    }
  }
}

function memberOf(token: string, { beat, clockDifference, heardAt, silent }: Known, now: number): Member {
  return { token, beat, clockDifference, silentFor: Math.round(now - heardAt), silent };
}
