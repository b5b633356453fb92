import { pino } from 'pino';
import { type LoadedConfig, loadConfig, loadContacts } from '../../config/load.js';
import { fleetConnection } from '../../fleet/connection.js';
import { createSink } from '../../sinks/create.js';
import { checkStream } from '../../sinks/jetstream/check.js';
import type { Finding } from '../../sinks/sink.js';
import type { Times } from '../times.js';
import { inspectConfiguration } from './configuration.js';
import { inspectDaemon } from './daemon.js';
import { inspectDatabase } from './database.js';
import { inspectFail2ban } from './fail2ban.js';
import { failure, type Section } from './report.js';
import { inspectRetention } from './retention.js';
import { inspectState } from './state.js';

/** Looks over one thing after the other. With a configuration that is wrong there is nothing else to look at but a daemon that runs. */
export async function* inspect(
  path: string | null,
  env: NodeJS.ProcessEnv,
  times: Times,
): AsyncGenerator<Section> {
  let loaded: LoadedConfig;
  try {
    loaded = loadConfig(path, env);
  } catch (error) {
    yield { name: 'Configuration', findings: [failure(error)] };
    yield* runningStill(path, env, times);
    return;
  }
  const { config } = loaded;
  yield { name: 'Configuration', findings: inspectConfiguration(loaded, env) };
  yield { name: 'Database', findings: await guarded(() => inspectDatabase(config)) };
  yield { name: 'State', findings: await guarded(() => inspectState(config)) };
  for (const [name, sink] of Object.entries(config.sinks)) {
    const deps = { name, clock: Date.now, minFree: config.min_free, log: pino({ level: 'silent' }) };
    yield {
      name: `Sink ${name} (${sink.type})`,
      findings: await guarded(() => createSink(sink, config, deps).check()),
    };
  }
  yield { name: 'Retention', findings: await guarded(() => inspectRetention(config)) };
  // A member's sink has looked at the stream already.
  const fleet = config.fleet.servers === undefined ? null : fleetConnection(config);
  if (fleet !== null)
    yield { name: `Fleet (${config.fleet.role})`, findings: await guarded(() => checkStream(fleet, null)) };
  yield { name: 'fail2ban', findings: await guarded(() => inspectFail2ban(config)) };
  yield { name: 'Daemon', findings: await guarded(() => inspectDaemon(config.control, loaded, times)) };
}

/** A daemon that runs goes on with the configuration that it read before. */
async function* runningStill(
  path: string | null,
  env: NodeJS.ProcessEnv,
  times: Times,
): AsyncGenerator<Section> {
  try {
    const findings = await inspectDaemon(loadContacts(path, env).control, null, times);
    if (findings[0]?.level === 'ok') yield { name: 'Daemon', findings };
  } catch {
    // there is no file of that name, which has been said
  }
}

/** One look that fails is a finding and keeps none of the others from being made. */
async function guarded(look: () => Promise<Finding[]> | Finding[]): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [failure(error)];
  }
}
