import { type LoadedConfig, loadConfig, loadContacts } from '../../config/load.js';
import { isDenied } from '../../errors.js';
import { fleetConnection } from '../../fleet/nats-config.js';
import { SILENT_LOG } from '../../silent-log.js';
import { createSink } from '../../sinks/create-sink.js';
import type { Finding } from '../../sinks/sink.js';
import type { Times } from '../support/times.js';
import { inspectConfiguration } from './configuration.js';
import { inspectDaemon } from './daemon.js';
import { inspectDatabase } from './database.js';
import { inspectFail2ban } from './fail2ban.js';
import { asDaemon, forCaller, hostOf } from './identity.js';
import { failure, type Section } from './report.js';
import { inspectRetention } from './retention.js';
import { inspectState } from './state.js';

/** Checks one section after the other. With an invalid configuration only a running daemon can be checked. */
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
  const host = hostOf(loaded.path);
  const section = async (name: string, look: () => Promise<Finding[]> | Finding[]): Promise<Section> => ({
    name,
    findings: forCaller(host, await guarded(look)),
  });
  yield { name: 'Configuration', findings: inspectConfiguration(loaded, env) };
  yield await section('Database', () => asDaemon(host, () => inspectDatabase(config)));
  yield await section('State', () => inspectState(config));
  for (const [name, sink] of Object.entries(config.sinks)) {
    const deps = { name, clock: Date.now, minFree: config.min_free, log: SILENT_LOG };
    yield await section(`Sink ${name} (${sink.type})`, async () => {
      const created = await createSink(sink, config, deps);
      return created.check();
    });
  }
  const retention = await section('Retention', () => asDaemon(host, () => inspectRetention(config, times)));
  yield retention;
  // The sink of a member has checked the stream already.
  const fleet = config.fleet.servers === undefined ? null : fleetConnection(config);
  if (fleet !== null) {
    const { checkStream } = await import('../../sinks/jetstream/check.js');
    yield await section(`Fleet (${config.fleet.role})`, () => checkStream(fleet, null));
  }
  yield await section('fail2ban', () => inspectFail2ban(config));
  const daemon = await section('Daemon', () => inspectDaemon(config.control, loaded, host.installed, times));
  yield { name: 'Daemon', findings: daemon.findings.filter((finding) => !isReportedBy(retention, finding)) };
}

/** A running daemon keeps its previous configuration. */
async function* runningStill(
  path: string | null,
  env: NodeJS.ProcessEnv,
  times: Times,
): AsyncGenerator<Section> {
  try {
    const findings = await inspectDaemon(loadContacts(path, env).control, null, false, times);
    if (findings[0]?.level === 'ok') yield { name: 'Daemon', findings };
  } catch {
    // there is no file of that name, which has been reported
  }
}

/** The daemon also reports its last run. */
function isReportedBy(retention: Section, { what }: Finding): boolean {
  const [, failure] = /^retention: (.*)$/s.exec(what) ?? [];
  return failure !== undefined && retention.findings.some((finding) => finding.what.endsWith(failure));
}

/** A check that throws becomes a finding, and the others still run. */
async function guarded(look: () => Promise<Finding[]> | Finding[]): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [{ ...failure(error), ...(isDenied(error) ? { access: true } : {}) }];
  }
}
