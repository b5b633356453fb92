import { hostname } from 'node:os';
import type { Config, SinkConfig } from '../config/schema.js';
import { createFail2banSink } from './files/fail2ban-sink.js';
import { createFileSink } from './files/file-sink.js';
import { createJetstreamSink } from './jetstream/jetstream-sink.js';
import type { Sink, SinkDeps } from './sink.js';
import { createSyslogSink } from './syslog/syslog-sink.js';

/** The sink that a part of the configuration asks for. A new kind of sink docks here, and in config/schema.ts. */
export function createSink(sink: SinkConfig, config: Config, deps: SinkDeps): Sink {
  switch (sink.type) {
    case 'file':
      return createFileSink(sink, deps);
    case 'fail2ban':
      return createFail2banSink(sink, config.fail2ban, deps);
    case 'syslog':
      return createSyslogSink(sink, deps);
    case 'jetstream':
      return createJetstreamSink(sink, config.server ?? hostname(), deps);
  }
}
