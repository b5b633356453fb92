import { JetStreamApiCodes, JetStreamApiError, jetstream, type StreamInfo } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { NatsConfig } from '../../config/nats.js';
import { messageOf } from '../../errors.js';
import { SUBJECT_PREFIX, subjectToken } from '../../formats/fleet-message.js';
import { groupedDigits } from '../../grouped-digits.js';
import type { Finding } from '../sink.js';
import { connectNats } from './connection.js';
import { natsError } from './nats-error.js';
import { findStream, STREAM_DEFAULTS, streamConfig, streamDifferences } from './stream.js';

const PROBE_MS = 2_000;

/**
 * Connects, looks at the stream, and asks it to refuse a message: nothing is stored.
 *
 * @param server in whose name to publish; null: not at all
 */
export async function checkStream(config: NatsConfig, server: string | null): Promise<Finding[]> {
  let nc: NatsConnection | null = null;
  try {
    const started = performance.now();
    nc = await connectNats(config, `postern-auditd check ${server ?? ''}`);
    const { version, tls_required } = nc.info ?? {};
    const tls = tls_required === true || config.tls !== undefined ? ', TLS' : '';
    const took = Math.round(performance.now() - started);
    const found: Finding[] = [
      { level: 'ok', what: `${nc.getServer()} answers: nats-server ${version}${tls}, ${took} ms` },
    ];
    const manager = await jetstream(nc, { timeout: PROBE_MS }).jetstreamManager(false);
    const stream = await findStream(manager, config.stream);
    if (stream === null) {
      const what = `the stream ${config.stream} does not exist`;
      return [...found, { level: 'error', what, next: 'create it with: postern-auditd fleet init' }];
    }
    const publishing = server === null ? [] : [await probe(nc, config.stream, server)];
    return [...found, ...describe(stream), ...publishing];
  } catch (error) {
    const { what, next } = natsError(config.servers.join(', '), error);
    return [{ level: 'error', what, ...(next === null ? {} : { next }) }];
  } finally {
    await nc?.close();
  }
}

function describe({ config, state, cluster }: StreamInfo): Finding[] {
  const peers = cluster?.replicas ?? [];
  const behind = peers.filter(({ current, offline }) => !current || offline === true).map(({ name }) => name);
  const what = `stream ${config.name}: ${groupedDigits(state.messages)} messages, ${Math.ceil(state.bytes / 2 ** 20)} MB, ${config.num_replicas} replicas`;
  const wished = streamConfig(config.name, { ...STREAM_DEFAULTS, replicas: config.num_replicas }, 1);
  const grave = streamDifferences(config, wished).filter((difference) => difference.grave);
  return [
    { level: 'ok', what },
    ...(config.num_replicas > 1
      ? []
      : [
          {
            level: 'warning' as const,
            what: `stream ${config.name} has one replica: if its server fails, all that the hub has not read is lost`,
            next: 'run three NATS servers, and edit the stream to three replicas',
          },
        ]),
    ...(behind.length === 0
      ? []
      : [{ level: 'warning' as const, what: `replicas that are behind or down: ${behind.join(', ')}` }]),
    ...grave.map(({ setting, found, wished: should, command }) => ({
      level: 'warning' as const,
      what: `stream ${config.name}: ${setting} is ${found}, should be ${should}: events can be lost`,
      next: command ?? 'create another stream with postern-auditd fleet init, and name it under stream',
    })),
  ];
}

/** A message that expects a last sequence that can't be is refused by the stream: then the right to publish is there. */
async function probe(nc: NatsConnection, stream: string, server: string): Promise<Finding> {
  const subject = `${SUBJECT_PREFIX}.${subjectToken(server)}.daemon.check`;
  try {
    await jetstream(nc, { timeout: PROBE_MS }).publish(subject, '', {
      expect: { streamName: stream, lastSequence: Number.MAX_SAFE_INTEGER },
    });
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence)
      return { level: 'ok', what: `may publish as ${subjectToken(server)}` };
    const next = `give this user the right to publish ${SUBJECT_PREFIX}.${subjectToken(server)}.> (docs/guide/FLEET.md)`;
    return { level: 'error', what: `may not publish ${subject}: ${messageOf(error)}`, next };
  }
  return { level: 'warning', what: `the stream accepted a message that it should have rejected: ${subject}` };
}
