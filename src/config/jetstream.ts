import { z } from 'zod';
import { everySink, required, startAt } from './event-filter-schema.js';
import { natsContradictions, natsFields, natsServers } from './nats.js';

/** The fleet's stream. */
export const jetstreamSink = z
  .strictObject({
    type: z.literal('jetstream'),
    ...everySink,
    required: required(true),
    start: startAt('now'),
    servers: natsServers.describe('NATS servers, tried in order: nats://host:port or tls://host:port.'),
    ...natsFields,
    window: z
      .int()
      .min(1)
      .max(10_000)
      .default(512)
      .describe('How many messages may be unacknowledged at a time.'),
  })
  .superRefine((sink, context) => {
    for (const [key, message] of natsContradictions(sink))
      context.addIssue({ code: 'custom', path: [key], message });
  })
  .describe('The stream of a fleet (docs/guide/FLEET.md): every event, acknowledged by NATS JetStream.');

export type JetstreamSinkConfig = z.infer<typeof jetstreamSink>;
