import type { LoadedConfig } from '../../config/load.js';
import { controlRequest, isAbsent } from '../../control/client.js';
import { isDenied } from '../../errors.js';
import { daemonCommand, daemonLog } from '../../next-steps.js';
import type { Finding } from '../../sinks/sink.js';
import { VERSION } from '../../version.js';
import { troubles } from '../status/troubles.js';
import type { Times } from '../support/times.js';
import { partsOf, partsOfError } from './report.js';

/**
 * Whether the daemon runs, with this configuration and version, and the faults that it reports.
 *
 * @param installed whether it is a unit of this host
 * @param loaded the checked configuration; null if it can't be loaded
 */
export async function inspectDaemon(
  control: string,
  loaded: LoadedConfig | null,
  installed: boolean,
  times: Times,
): Promise<Finding[]> {
  let status: Parameters<typeof troubles>[0];
  try {
    status = (await controlRequest(control, 'GET', '/status')) as typeof status;
  } catch (error) {
    if (isAbsent(error)) {
      const what = `it is not running: nothing listens on ${control}`;
      // A unit of this host is meant to run.
      if (!installed) return [{ level: 'warning', what, next: daemonCommand('start') }];
      const next = `see why it stopped with ${daemonLog()}, then: ${daemonCommand('start')}`;
      return [{ level: 'error', what, next }];
    }
    return [
      {
        level: 'warning',
        ...partsOfError(error),
        ...(isDenied(causeOf(error)) ? { access: true } : {}),
      },
    ];
  }
  const findings: Finding[] = [
    { level: 'ok', what: `it is running: version ${status.version}, pid ${status.pid}` },
  ];
  if (status.version !== VERSION) {
    const what = `it runs version ${status.version}, but ${VERSION} is installed`;
    findings.push({ level: 'warning', what, next: daemonCommand('restart') });
  }
  if (loaded !== null && status.config !== loaded.path) {
    const { path } = loaded;
    const what = `it runs with ${status.config ?? 'the defaults'}, but this checks ${path ?? 'the defaults'}`;
    findings.push({ level: 'warning', what, next: 'name its file with --config' });
  }
  const refused = status.api?.refused_host ?? null;
  if (refused !== null) {
    const what = `the API refused a request for the host ${JSON.stringify(refused.host)} at ${times(refused.at)}`;
    const next =
      'if that is a name of this server, add it to api.hosts; if a proxy is in front of it, set api.trusted_proxies';
    findings.push({ level: 'warning', what, next });
  }
  for (const trouble of troubles(status)) {
    findings.push({ level: 'error', ...partsOf(trouble) });
  }
  return findings;
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : null;
}
