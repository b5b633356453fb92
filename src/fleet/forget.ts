import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { NatsConfig } from '../config/nats.js';
import { AuditdError } from '../errors.js';
import { subjectToken } from '../formats/fleet-message.js';
import { connectNats } from '../sinks/jetstream/connection.js';
import { natsError } from '../sinks/jetstream/nats-error.js';
import { serversBucket } from './kv-buckets.js';

/** Names that an error lists. */
const NAMED = 20;

/**
 * Takes a server that is gone off the list of the fleet: hubs hear of it at once, and wait for it no more. Its events stay.
 *
 * @param silentAfter ms; one that was heard of since then is not gone
 * @throws AuditdError `NOT_FOUND`, `USAGE` if it is there, `SINK_FAILED`
 */
export async function forgetServer(nats: NatsConfig, server: string, silentAfter: number): Promise<void> {
  const nc = await connectNats(nats, 'postern-auditd fleet forget');
  try {
    const bucket = serversBucket(nats.stream);
    const kv = await new Kvm(jetstream(nc, { timeout: 10_000 })).open(bucket, { bindOnly: true });
    const token = subjectToken(server);
    const entry = await kv.get(token);
    if (entry === null || entry.operation !== 'PUT') {
      const known: string[] = [];
      for await (const key of await kv.keys()) known.push(key);
      const list = known.slice(0, NAMED).join(', ') || 'none';
      throw new AuditdError('NOT_FOUND', `The fleet knows no server ${server}. It knows: ${list}`);
    }
    const age = Date.now() - entry.created.getTime();
    if (age < silentAfter) {
      throw new AuditdError(
        'USAGE',
        `Server ${server} said ${Math.max(0, Math.round(age / 1_000))} s ago that it is there. Stop its postern-auditd, or take its sink of type jetstream out, and try again when fleet.silent_after is over`,
      );
    }
    await kv.delete(token);
  } catch (error) {
    throw error instanceof AuditdError ? error : natsError(nc.getServer(), error);
  } finally {
    await nc.close();
  }
}
