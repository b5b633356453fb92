import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { z } from 'zod';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { crossProblems } from './cross-checks.js';
import { type KeyPath, valueAtPath } from './key-path.js';
import { type Config, fail2ban, config as schema } from './schema.js';
import { type ConfigProblem, problemsOf, quoted } from './validation-messages.js';
import { ConfigDocument, salvage } from './yaml-document.js';

export const DEFAULT_PATH = '/etc/postern-auditd/config.yml';

/** Environment variables that override the file. Only paths: policy belongs in the file. */
export const OVERRIDES: Readonly<Record<string, KeyPath>> = {
  POSTERN_AUDITD_DATABASE: ['source', 'database'],
  POSTERN_AUDITD_STATE: ['state'],
  POSTERN_AUDITD_CONTROL: ['control'],
};

export interface LoadedConfig {
  /** Complete, including `server`. */
  readonly config: Config & { server: string };
  /** The file that was read; null for the defaults without a file. */
  readonly path: string | null;
}

/**
 * Reads and checks the configuration.
 *
 * @param path file to read; null for POSTERN_AUDITD_CONFIG, else /etc/postern-auditd/config.yml, else the defaults
 * @throws AuditdError `CONFIG_MISSING`, or `CONFIG_INVALID` with every problem as `file:line:column: key: found, allowed`
 */
export function loadConfig(path: string | null, env: NodeJS.ProcessEnv): LoadedConfig {
  const file = fileOf(path, env);
  const config = parseConfig(file === null ? '' : read(file), file, env);
  return { config: { ...withHub(config), server: config.server ?? hostname() }, path: file };
}

function fileOf(path: string | null, env: NodeJS.ProcessEnv): string | null {
  return path ?? (env.POSTERN_AUDITD_CONFIG || null) ?? (existsSync(DEFAULT_PATH) ? DEFAULT_PATH : null);
}

/** The keys that a command needs to reach the daemon or fail2ban. */
export interface Contacts {
  readonly control: string;
  readonly jail: string;
  readonly state: string;
  readonly server: string;
  /** Why the configuration is rejected as a whole; null if it is valid. */
  readonly refused: AuditdError | null;
}

/**
 * Reads where the daemon and the jail are, even from a configuration with mistakes: that is when people need these commands. A key that
 * can't be read has its default.
 *
 * @throws AuditdError `CONFIG_MISSING` if a named file does not exist
 */
export function loadContacts(path: string | null, env: NodeJS.ProcessEnv): Contacts {
  try {
    const { control, state, server, fail2ban } = loadConfig(path, env).config;
    return { control, state, server, jail: fail2ban.jail, refused: null };
  } catch (error) {
    if (!(error instanceof AuditdError)) throw error;
    const unreadable = codeOf(error.cause) === 'EACCES';
    if (error.code !== 'CONFIG_INVALID' && !unreadable) throw error;
    const file = fileOf(path, env);
    const salvagedAt = salvage(file === null || unreadable ? '' : readFileSync(file, 'utf8'));
    const { shape } = schema;
    const readable = <T>(key: z.ZodType<T>, at: KeyPath, variable?: string): T => {
      const found = key.safeParse((variable && env[variable]) || salvagedAt(at));
      return found.success ? found.data : key.parse(undefined);
    };
    return {
      control: readable(shape.control, ['control'], 'POSTERN_AUDITD_CONTROL'),
      state: readable(shape.state, ['state'], 'POSTERN_AUDITD_STATE'),
      server: readable(shape.server, ['server']) ?? hostname(),
      jail: readable(fail2ban.shape.jail, ['fail2ban', 'jail']),
      refused: error,
    };
  }
}

/** The hub's own table. */
export function hubDatabase(stateDirectory: string): string {
  return join(stateDirectory, 'hub.db');
}

/** A hub reads its own table, not Postern's. */
function withHub(config: Config): Config {
  if (config.fleet.role !== 'hub') return config;
  const { aliases } = config.source;
  const own = schema.shape.source.parse({ database: hubDatabase(config.state) });
  return { ...config, source: { ...own, aliases } };
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'is not readable for this user',
  EISDIR: 'is a directory',
};

function read(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const why = UNREADABLE[codeOf(error) ?? ''] ?? `can't be read (${messageOf(error)})`;
    const next = 'Name another with --config, or start from the shipped config/config.yml';
    throw new AuditdError('CONFIG_MISSING', `The configuration file ${file} ${why}`, {
      next,
      cause: error,
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    const next = `Save it as UTF-8: iconv -f LATIN1 -t UTF-8 ${file}`;
    throw new AuditdError('CONFIG_INVALID', `${file}:1:1: found text that is not UTF-8`, {
      next,
      cause: error,
    });
  }
}

/**
 * Checks the text of a configuration file.
 *
 * @param file only for the messages; null: no file, all problems come from the environment
 * @throws AuditdError `CONFIG_INVALID`
 */
export function parseConfig(text: string, file: string | null, env: NodeJS.ProcessEnv = {}): Config {
  const document = new ConfigDocument(text);
  const place = (offset: number) => {
    const { line, column } = document.placeOf(offset);
    return `${file ?? 'defaults'}:${line}:${column}`;
  };
  if (document.problems.length > 0) {
    refuse(
      file,
      document.problems.map(({ offset, message }) => `${place(offset)}: ${message}`),
    );
  }
  const overrides = Object.entries(OVERRIDES).filter(([name]) => (env[name] ?? '') !== '');
  const value = overrides.reduce((at, [name, path]) => withValue(at, path, env[name]), document.value);
  const { config, problems } = check(value);
  if (config !== null && problems.length === 0) return config;
  const variableOf = (path: KeyPath) => overrides.find(([, key]) => key.join('.') === path.join('.'))?.[0];
  const placed = problems
    .map((problem) => ({
      text: `${nameOf(problem.path)}: ${problem.message}`,
      variable: variableOf(problem.path),
      offset: document.offsetOf(problem),
    }))
    .sort((a, b) => a.offset - b.offset)
    .map(({ text: said, variable, offset }) => `${variable ?? place(offset)}: ${said}`);
  return refuse(file, placed);
}

/** Zod compiles a parser for each object, which pays off from some hundred values on; a configuration is one. */
const ONCE = { jitless: true };

/** An empty section (`source:` with nothing, or only comments, under it) counts as missing. */
function check(value: unknown): { config: Config | null; problems: ConfigProblem[] } {
  const parsed = schema.safeParse(value, ONCE);
  if (parsed.success) return { config: parsed.data, problems: crossProblems(parsed.data) };
  const empty = parsed.error.issues
    .filter((issue) => issue.code === 'invalid_type' && issue.expected === 'object')
    .map((issue) => issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part)))
    .filter((path) => path.length > 0 && path[0] !== 'sinks' && valueAtPath(value, path) === null);
  if (empty.length > 0) return check(empty.reduce((at, path) => withValue(at, path, {}), value));
  const problems = problemsOf(parsed.error.issues, value);
  const rest = sound(value, problems);
  return { config: null, problems: rest === null ? problems : [...problems, ...crossProblems(rest)] };
}

/**
 * The valid part of an invalid configuration. Its keys may still conflict, and all problems are to be reported at once. Null if the
 * configuration is invalid even without the keys that have problems.
 */
function sound(value: unknown, problems: readonly ConfigProblem[]): Config | null {
  let rest = value;
  let wrong = problems.map(({ path }) => path);
  for (let tries = 0; tries < 3; tries++) {
    rest = wrong.reduce((at, path) => without(at, path), rest);
    const parsed = schema.safeParse(rest, ONCE);
    if (parsed.success) return parsed.data;
    wrong = problemsOf(parsed.error.issues, rest).map(({ path }) => path);
  }
  return null;
}

/** A copy of a value without the key at a path, or without the nearest existing key above it. A list is removed as a whole. */
function without(value: unknown, path: KeyPath): unknown {
  const [first, second] = path;
  const member = first === undefined ? undefined : valueAtPath(value, [first]);
  if (member === undefined) return value;
  const deeper = typeof second === 'string' && valueAtPath(member, [second]) !== undefined;
  const inner = deeper ? without(member, path.slice(1)) : undefined;
  const entries = Object.entries(value as object).filter(([name]) => deeper || name !== String(first));
  return Object.fromEntries(entries.map(([name, each]) => [name, name === String(first) ? inner : each]));
}

/** A copy of a value with one member set. A value that is not a mapping stays as it is. */
function withValue(value: unknown, path: KeyPath, member: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return member;
  const at = value ?? {};
  if (typeof at !== 'object' || Array.isArray(at)) return value;
  return { ...at, [first]: withValue(valueAtPath(at, [first]), rest, member) };
}

/** How many problems are listed. */
const MOST_SHOWN = 30;

function refuse(file: string | null, problems: readonly string[]): never {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const shown = problems.slice(0, MOST_SHOWN);
  if (problems.length > MOST_SHOWN) shown.push(`and ${problems.length - MOST_SHOWN} more`);
  const next =
    file === null ? 'Correct the environment' : `Correct it, then: postern-auditd config --check ${file}`;
  throw new AuditdError('CONFIG_INVALID', `The configuration has ${count}:\n  ${shown.join('\n  ')}`, {
    next,
    problems,
  });
}

function nameOf(path: KeyPath): string {
  if (path.length === 0) return 'the file';
  return path
    .map((part) => (/^[\w-]+(\.[\w-]+)?$/.test(String(part)) ? String(part) : quoted(String(part))))
    .join('.');
}
