import type { Config } from './schema.js';

/** A key whose value differs between two configurations. */
export interface ConfigChange {
  /** `log.level`, `sinks.audit.roll.size`; a sink that came or went is `sinks.siem`. */
  readonly key: string;
  readonly path: readonly string[];
  /** True if only a restart of the daemon brings it into effect; all others a reload (SIGHUP). */
  readonly restart: boolean;
  /** True if the jail depends on it: install.sh --reconfigure writes it anew. */
  readonly jail: boolean;
}

/** What the daemon has opened before it reads its configuration again. */
const RESTART: ReadonlySet<string> = new Set(['state', 'control', 'log.file', 'log.format']);

/** What changed, in the order of the keys. */
export function diffConfig(before: Config, after: Config): ConfigChange[] {
  return differences(before, after, []).map((path) => {
    const key = path.join('.');
    return { key, path, restart: RESTART.has(key), jail: concernsJail(path, before, after) };
  });
}

/** The jail is made of all keys of `fail2ban`, and of where its sink writes to. */
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
