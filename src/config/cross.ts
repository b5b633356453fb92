import { isAbsolute } from 'node:path';
import { NetworkSet } from '../audit/address.js';
import { catalog } from '../audit/catalog.js';
import { nearest } from './nearest.js';
import type { Problem } from './problems.js';
import type { Config, EventsFilter } from './schema.js';

/** sun_path of a unix socket holds 108 bytes with its NUL (unix(7)). */
const SOCKET_PATH_BYTES = 107;

/** What no key alone can show: paths, sinks that get in each other's way, names that the catalog does not have. */
export function crossProblems(config: Config): Problem[] {
  return [...paths(config), ...sinks(config), ...networks(config), ...aliases(config)];
}

function paths(config: Config): Problem[] {
  const named: Array<readonly [Problem['path'], string | null]> = [
    [['source', 'database'], config.source.database],
    [['state'], config.state],
    [['control'], config.control],
    [['log', 'file'], config.log.file],
    [['fail2ban', 'bans'], config.fail2ban.bans],
    ...Object.entries(config.sinks).flatMap(([name, sink]) =>
      'directory' in sink ? [[['sinks', name, 'directory'], sink.directory] as const] : [],
    ),
  ];
  const relative = named
    .filter(([, path]) => path !== null && !isAbsolute(path))
    .map(([path, value]) => problem(path, `found "${value}", allowed is an absolute path (a service has no current directory)`));
  const bytes = Buffer.byteLength(config.control);
  const long = `has ${bytes} bytes, a unix socket's path may have ${SOCKET_PATH_BYTES}`;
  return bytes > SOCKET_PATH_BYTES ? [...relative, problem(['control'], long)] : relative;
}

function sinks(config: Config): Problem[] {
  const problems: Problem[] = [];
  const directories = new Map<string, string>();
  let pair: string | null = null;
  for (const [name, sink] of Object.entries(config.sinks)) {
    if ('directory' in sink) {
      const directory = sink.directory.replace(/\/+$/, '');
      const other = directories.get(directory);
      if (other !== undefined) {
        problems.push(problem(['sinks', name, 'directory'], `sink ${other} writes there already; each needs a directory of its own`));
      }
      directories.set(directory, name);
    }
    if (sink.type === 'fail2ban') {
      if (pair !== null) problems.push(problem(['sinks', name, 'type'], `sink ${pair} is of type fail2ban already, and there is one jail`));
      pair = name;
    }
    if (sink.events !== undefined) problems.push(...filter(['sinks', name, 'events'], sink.events));
  }
  return problems;
}

function filter(path: Problem['path'], events: EventsFilter): Problem[] {
  const categories = [...new Set(catalog.map(({ category }) => category))];
  const wrong = (events.category ?? []).map((name, at) => unknown([...path, 'category', at], name, categories));
  return wrong.filter((found) => found !== null);
}

function networks(config: Config): Problem[] {
  return config.fail2ban.never_ban.flatMap((entry, at) => {
    try {
      new NetworkSet([entry]);
      return [];
    } catch (error) {
      return [problem(['fail2ban', 'never_ban', at], error instanceof Error ? error.message : String(error))];
    }
  });
}

function aliases(config: Config): Problem[] {
  const actions = catalog.map(({ action }) => action);
  return Object.keys(config.source.aliases)
    .map((name) => unknown(['source', 'aliases', name], name, actions))
    .filter((found) => found !== null);
}

function unknown(path: Problem['path'], name: string, allowed: readonly string[]): Problem | null {
  if (allowed.includes(name)) return null;
  const meant = nearest(name, allowed);
  const hint = meant === null ? `Known: ${allowed.join(', ')}` : `Did you mean ${meant}?`;
  return problem(path, `the catalog does not have "${name}". ${hint}`);
}

function problem(path: Problem['path'], message: string): Problem {
  return { path, atKey: false, message };
}
