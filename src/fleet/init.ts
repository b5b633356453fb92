import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { NatsConfig } from '../config/nats.js';
import { connectNats } from '../sinks/jetstream/connection.js';
import { natsError } from '../sinks/jetstream/nats-error.js';
import {
  type Difference,
  findStream,
  type StreamWishes,
  streamConfig,
  streamDifferences,
} from '../sinks/jetstream/stream.js';
import { LEASE_TTL_MS, leaseBucket, SERVERS_TTL_MS, serversBucket } from './kv-buckets.js';

/** The result for one stream or bucket. */
export interface Initialised {
  readonly name: string;
  readonly made: boolean;
  readonly replicas: number;
  /** How an existing stream differs from the requested one. It was not changed. */
  readonly differences: readonly Difference[];
}

/**
 * Creates the stream and the buckets of a fleet if they are missing, and compares existing ones. It changes and removes nothing.
 *
 * @throws AuditdError `SINK_FAILED`
 */
export async function initFleet(nats: NatsConfig, options: StreamWishes): Promise<Initialised[]> {
  const nc = await connectNats(nats, 'postern-auditd fleet init');
  try {
    const manager = await jetstream(nc, { timeout: 10_000 }).jetstreamManager(false);
    const wanted = streamConfig(nats.stream, options, await clusterSize(nc));
    const replicas = wanted.num_replicas ?? 1;
    const there = await findStream(manager, nats.stream);
    if (there === null) await manager.streams.add(wanted);
    const stream = {
      name: nats.stream,
      made: there === null,
      replicas: there?.config.num_replicas ?? replicas,
      differences: there === null ? [] : streamDifferences(there.config, wanted),
    };
    const buckets = [
      { name: serversBucket(nats.stream), ttl: SERVERS_TTL_MS },
      { name: leaseBucket(nats.stream), ttl: LEASE_TTL_MS },
    ];
    const made: Initialised[] = [];
    for (const { name, ttl } of buckets) {
      const bucket = await findStream(manager, `KV_${name}`);
      if (bucket === null) await new Kvm(jetstream(nc)).create(name, { history: 1, ttl, replicas });
      const expected = { num_replicas: replicas, max_age: ttl * 1_000_000 };
      made.push({
        name,
        made: bucket === null,
        replicas: bucket?.config.num_replicas ?? replicas,
        differences: bucket === null ? [] : streamDifferences(bucket.config, expected),
      });
    }
    return [stream, ...made];
  } catch (error) {
    throw natsError(nc.getServer(), error);
  } finally {
    await nc.close();
  }
}

/** Number of servers of the cluster, including the connected one. */
async function clusterSize(nc: NatsConnection): Promise<number> {
  const others = nc.info?.connect_urls?.length ?? 0;
  return Math.max(1, others);
}
