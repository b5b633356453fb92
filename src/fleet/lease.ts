/**
 * Decides which of two hubs ships to other hosts: the one that holds the entry `hub` of a key-value bucket. Entries expire after ten
 * seconds.
 *
 * The holder renews the entry every two seconds, by its revision. It stops shipping three seconds before the servers would drop the
 * entry. That time counts from before the renewal was sent, by a monotonic clock. So two hubs never hold the lease at the same time,
 * unless the clocks of the NATS servers differ by more than those three seconds when their leader changes.
 *
 * FENCING. A collector does not know the lease, so it can't reject a hub that lost the lease while it was sending. The loops check the
 * lease before each batch, and abort a batch that outlasts it, for example after the process was suspended. Only events that were
 * delivered since the last renewal can arrive twice, with the same event ids.
 */
import { randomBytes } from 'node:crypto';
import { jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type Diagnosis, explained, messageOf } from '../errors.js';
import { type PeriodicTask, ticker } from '../ticker.js';
import type { Part } from './fleet-connection.js';
import { bucketTrouble, LEASE_TTL_MS, leaseBucket } from './kv-buckets.js';

const RENEW_MS = 2_000;
const MARGIN_MS = 3_000;
const ANSWER_TIMEOUT_MS = 2_000;
const KEY = 'hub';

/** Of each sink that ships onward: the id of the event up to which it has delivered. */
export type HubPositions = Readonly<Record<string, string>>;

const schema = z.object({
  v: z.literal(1),
  holder: z.string(),
  instance: z.string(),
  since: z.number(),
  positions: z.record(z.string(), z.string()),
});
type Entry = z.infer<typeof schema>;

export interface LeaseOptions {
  readonly stream: string;
  readonly server: string;
  readonly clock: () => number;
  readonly log: Logger;
  /** The positions of this hub's sinks, for the other hub. */
  readonly positions: () => HubPositions;
  /** Called with the positions of the holder's sinks: the sinks on standby follow them. */
  readonly onPositions: (positions: HubPositions) => void;
  readonly onTaken: () => void;
  readonly onLost: () => void;
}

export class Lease implements Part {
  private readonly instance = randomBytes(8).toString('hex');
  private nc: NatsConnection | null = null;
  private kv: KV | null = null;
  private problem: Diagnosis | null = null;
  private periodic: PeriodicTask | null = null;
  private revision = 0;
  /** By two clocks, ms: the monotonic one, which may stop while the machine sleeps, and the host's, which does not. */
  private until = Number.NEGATIVE_INFINITY;
  private untilTime = Number.NEGATIVE_INFINITY;
  private since = 0;
  private wasHeld = false;
  private other: Entry | null = null;
  private working: Promise<void> | null = null;

  constructor(private readonly options: LeaseOptions) {}

  /** True while only this hub ships to other hosts. */
  get held(): boolean {
    return performance.now() < this.until && this.options.clock() < this.untilTime;
  }

  async attach(nc: NatsConnection): Promise<void> {
    this.nc = nc;
    await this.renewOrTake();
    if (this.nc !== nc) return;
    this.periodic = ticker.every(RENEW_MS, () => void this.renewOrTake());
  }

  detach(): void {
    this.periodic?.close();
    this.periodic = null;
    this.nc = null;
    this.kv = null;
  }

  /** Without the bucket nothing is shipped to other hosts; everything else continues. */
  trouble(): Diagnosis | null {
    return this.problem;
  }

  /** Releases the lease, so that the other hub need not wait until it expires. To be called after shipping has stopped. */
  async release(): Promise<void> {
    await this.working;
    const { kv } = this;
    const held = this.held;
    this.until = Number.NEGATIVE_INFINITY;
    if (kv === null || !held) return;
    await kv.delete(KEY, { previousSeq: this.revision }).catch(() => undefined); // it expires by itself
  }

  status() {
    return {
      held: this.held,
      holder: this.held ? this.options.server : (this.other?.holder ?? null),
      revision: this.held ? this.revision : null,
    };
  }

  private renewOrTake(): Promise<void> {
    this.working ??= this.tryOnce().finally(() => {
      this.working = null;
    });
    return this.working;
  }

  private async tryOnce(): Promise<void> {
    const { onTaken, onLost } = this.options;
    const { nc } = this;
    if (nc === null) return;
    const [sent, sentTime] = [performance.now(), this.options.clock()];
    try {
      const kv = this.kv ?? (await this.open(nc));
      if (this.nc !== nc) return; // the connection has changed meanwhile
      this.kv = kv;
      if (this.held) this.revision = await kv.update(KEY, this.entry(), this.revision);
      else this.revision = await this.take(kv);
      if (this.revision > 0) {
        this.until = sent + LEASE_TTL_MS - MARGIN_MS;
        this.untilTime = sentTime + LEASE_TTL_MS - MARGIN_MS;
      }
      this.problem = null;
    } catch (error) {
      if (this.nc !== nc) return;
      if (/wrong last sequence/i.test(messageOf(error))) this.until = Number.NEGATIVE_INFINITY;
      else this.failed(error);
    }
    if (this.held === this.wasHeld) return;
    this.wasHeld = this.held;
    if (this.held) onTaken();
    else onLost();
  }

  private open(nc: NatsConnection): Promise<KV> {
    return new Kvm(jetstream(nc, { timeout: ANSWER_TIMEOUT_MS })).open(leaseBucket(this.options.stream));
  }

  private failed(error: unknown): void {
    const { log, stream } = this.options;
    log.debug({ err: error }, `lease: ${messageOf(error)}`);
    if (!/not found|permission/i.test(messageOf(error))) return; // the leader is changing: the next attempt follows soon
    const trouble = bucketTrouble('the lease of hubs', leaseBucket(stream), error);
    if (this.problem === null) log.error({ err: error }, `fleet: ${explained(trouble.what, trouble.next)}`);
    this.problem = trouble;
  }

  /** The revision of our entry; 0 if the other hub holds the lease. */
  private async take(kv: KV): Promise<number> {
    const found = await kv.get(KEY);
    if (found !== null && found.operation === 'PUT') {
      this.other = entryOf(found.string());
      if (this.other !== null && this.other.instance !== this.instance)
        this.options.onPositions(this.other.positions);
      return 0;
    }
    this.since = this.options.clock();
    return kv.create(KEY, this.entry());
  }

  private entry(): string {
    const { server: holder, positions } = this.options;
    const entry: Entry = { v: 1, holder, instance: this.instance, since: this.since, positions: positions() };
    return JSON.stringify(entry);
  }
}

function entryOf(text: string): Entry | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
