import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { NatsConfig } from '../config/nats.js';
import { AuditdError } from '../errors.js';
import { subjectToken } from '../formats/fleet-message.js';
import { connectNats } from '../sinks/jetstream/connection.js';
import { natsError } from '../sinks/jetstream/nats-error.js';
import { serversBucket } from './kv-buckets.js';

/** Limit of the names that an error lists. */
const NAMED = 20;

/**
 * Removes a retired server from the list of the fleet. The hubs are notified at once and stop waiting for it. Its events stay.
 *
 * @param silentAfter ms; a server that sent a heartbeat since then is not retired
 * @throws AuditdError `NOT_FOUND`, `CONFLICT` if it still sends heartbeats, `SINK_FAILED`
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
      const names = known.slice(0, NAMED).join(', ');
      throw new AuditdError('NOT_FOUND', `The fleet has no server ${server}`, {
        next: names === '' ? 'No server has sent a heartbeat yet' : `Its servers are: ${names}`,
      });
    }
    const age = Date.now() - entry.created.getTime();
    if (age < silentAfter) {
      const seconds = Math.max(0, Math.round(age / 1_000));
      throw new AuditdError('CONFLICT', `Server ${server} sent a heartbeat ${seconds} s ago`, {
        next: 'Stop its postern-auditd, or remove its sink of type jetstream. Try again after fleet.silent_after',
      });
    }
    await kv.delete(token);
  } catch (error) {
    throw error instanceof AuditdError ? error : natsError(nc.getServer(), error);
  } finally {
    await nc.close();
  }
}
