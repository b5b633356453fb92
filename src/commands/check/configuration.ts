import { statSync } from 'node:fs';
import { unknownFilterNames } from '../../config/cross-checks.js';
import { type LoadedConfig, OVERRIDES } from '../../config/load.js';
import { needlessKeys } from '../../config/schema.js';
import type { Finding } from '../../sinks/sink.js';

/** What can be said of a configuration that is valid. */
export function inspectConfiguration({ config, path }: LoadedConfig, env: NodeJS.ProcessEnv): Finding[] {
  const overrides = Object.keys(OVERRIDES).filter((name) => (env[name] ?? '') !== '');
  const more = overrides.length === 0 ? '' : `, with ${overrides.join(', ')} of the environment`;
  return [
    { level: 'ok', what: `${path ?? 'no file: the defaults'}${more}` },
    ...(path === null ? [] : access(path)),
    ...(Object.keys(config.sinks).length > 0 ? [] : [noSinks]),
    ...needlessKeys(config.sinks).map(
      ({ key, why }): Finding => ({ level: 'warning', what: `${key} ${why}`, next: 'leave the key out' }),
    ),
    ...unknownFilterNames(config).map(
      ({ key, name }): Finding => ({
        level: 'warning',
        what: `${key}: the catalog of events does not have ${JSON.stringify(name)}`,
        next: 'leave it if Postern writes that word; docs/reference/EVENTS.md has the names of the catalog',
      }),
    ),
    ...(config.log.format === undefined ? [sentences] : []),
  ];
}

const sentences: Finding = {
  level: 'ok',
  what: 'the journal has the messages of the daemon as sentences (log.format; journal is the default there, which was json in earlier releases)',
};

const noSinks: Finding = {
  level: 'warning',
  what: 'there are no sinks: nothing is written anywhere',
  next: 'leave the key sinks out for the log files and fail2ban, or name some',
};

function access(path: string): Finding[] {
  const { mode } = statSync(path);
  if ((mode & 0o002) === 0) return [];
  const what = `everybody may write to ${path}: who can change it can have anybody banned, or nobody`;
  return [{ level: 'error', what, next: `chmod o-w ${path}` }];
}
