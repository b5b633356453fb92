import { hostname } from 'node:os';
import type { Config, SinkConfig } from '../config/schema.js';
import { loadPart } from '../installation.js';
import { createFail2banSink } from './files/fail2ban-sink.js';
import { createFileSink } from './files/file-sink.js';
import type { Sink, SinkDeps } from './sink.js';

/**
 * Creates the sink of a configuration entry. New kinds of sinks are added here and in config/schema.ts. Code for the network is loaded only
 * if a sink needs it.
 */
export async function createSink(sink: SinkConfig, config: Config, deps: SinkDeps): Promise<Sink> {
  switch (sink.type) {
    case 'file':
      return createFileSink(sink, deps);
    case 'fail2ban':
      return createFail2banSink(sink, config.fail2ban, deps);
    case 'syslog': {
      const { createSyslogSink } = await loadPart('syslog', () => import('./syslog/syslog-sink.js'));
      return createSyslogSink(sink, deps);
    }
    case 'http': {
      const { createHttpSink } = await loadPart('http', () => import('./http/http-sink.js'));
      return createHttpSink(sink, deps);
    }
    case 'webhook': {
      const { createWebhookSink } = await loadPart('webhook', () => import('./webhook/webhook-sink.js'));
      return createWebhookSink(sink, deps);
    }
    case 'jetstream': {
      const loaded = await loadPart('JetStream', () => import('./jetstream/jetstream-sink.js'));
      return loaded.createJetstreamSink(sink, config.server ?? hostname(), deps);
    }
  }
}
