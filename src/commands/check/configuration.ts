import { readFileSync, statSync } from 'node:fs';
import { unknownFilterNames } from '../../config/cross-checks.js';
import { type LoadedConfig, OVERRIDES } from '../../config/load.js';
import { needlessKeys } from '../../config/schema.js';
import { front } from '../../front.js';
import type { Finding } from '../../sinks/sink.js';
import { inspectDefaults } from './changed-defaults.js';

/** Findings about a valid configuration. */
export function inspectConfiguration({ config, path }: LoadedConfig, env: NodeJS.ProcessEnv): Finding[] {
  const overrides = Object.keys(OVERRIDES).filter((name) => (env[name] ?? '') !== '');
  const more = overrides.length === 0 ? '' : `, with ${overrides.join(', ')} from the environment`;
  return [
    ...(front() === 'container' ? [inContainer] : []),
    { level: 'ok', what: `${path ?? 'no file: the defaults are used'}${more}` },
    ...(path === null ? [] : access(path)),
    ...(Object.keys(config.sinks).length > 0 ? [] : [noSinks]),
    ...needlessKeys(config.sinks).map(
      ({ key, why }): Finding => ({ level: 'warning', what: `${key} ${why}`, next: 'remove the key' }),
    ),
    ...unknownFilterNames(config).map(
      ({ key, name }): Finding => ({
        level: 'warning',
        what: `${key}: ${JSON.stringify(name)} is not in the catalog of events`,
        next: 'keep it if Postern writes that name; docs/reference/EVENTS.md lists those of the catalog',
      }),
    ),
    ...(config.log.format === undefined ? [sentences] : []),
    ...(path === null ? [] : inspectDefaults(config, readFileSync(path, 'utf8'))),
  ];
}

const inContainer: Finding = {
  level: 'ok',
  what: 'this runs in a container: units, fail2ban and its jail are on the host or in another container, and are checked there',
};

const sentences: Finding = {
  level: 'ok',
  what: 'the daemon logs sentences to the journal (log.format: journal is the default; in earlier releases it was json)',
};

const noSinks: Finding = {
  level: 'warning',
  what: 'there are no sinks: no event is written anywhere',
  next: 'remove the key sinks for the default log files and fail2ban, or add sinks',
};

function access(path: string): Finding[] {
  const { mode } = statSync(path);
  if ((mode & 0o002) === 0) return [];
  const what = `everybody may write to ${path}: any user could ban addresses or disable bans with it`;
  return [{ level: 'error', what, next: `chmod o-w ${path}` }];
}
