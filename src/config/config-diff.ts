import type { Config } from './schema.js';

/** A key whose value differs between two configurations. */
export interface ConfigChange {
  /** `log.level`, `sinks.audit.roll.size`; an added or removed sink is `sinks.siem`. */
  readonly key: string;
  readonly path: readonly string[];
  /** True if the change needs a restart of the daemon. For other changes a reload (SIGHUP) is enough. */
  readonly restart: boolean;
  /** True if the jail depends on it: a setup rewrites it. */
  readonly jail: boolean;
}

/** Keys whose files and sockets the daemon opens only at its start. */
const RESTART: ReadonlySet<string> = new Set(['state', 'control', 'log.file', 'log.format']);

/** The changed keys, in their order. */
export function diffConfig(before: Config, after: Config): ConfigChange[] {
  return differences(before, after, []).map((path) => {
    const key = path.join('.');
    return { key, path, restart: RESTART.has(key), jail: concernsJail(path, before, after) };
  });
}

/** The jail depends on all keys of `fail2ban`, and on the directory of its sink. */
function concernsJail([section, name, key]: readonly string[], before: Config, after: Config): boolean {
  if (section === 'fail2ban') return true;
  if (
    section !== 'sinks' ||
    name === undefined ||
    (key !== undefined && key !== 'directory' && key !== 'type')
  )
    return false;
  return [before, after].some(({ sinks }) => sinks[name]?.type === 'fail2ban');
}

function differences(before: unknown, after: unknown, path: readonly string[]): string[][] {
  if (!isMapping(before) || !isMapping(after))
    return JSON.stringify(before) === JSON.stringify(after) ? [] : [[...path]];
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key) => differences(before[key], after[key], [...path, key]));
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
