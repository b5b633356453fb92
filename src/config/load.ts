import { existsSync, readFileSync } from 'node:fs';
import { isMap, isPair, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import { crossProblems } from './cross.js';
import { type Problem, problemsOf } from './problems.js';
import { type Config, config as schema } from './schema.js';

export const DEFAULT_PATH = '/etc/postern-auditd/config.yml';

/** Environment variables that stand above the file. Paths only: what they say is nothing that an attacker could use. */
const OVERRIDES = {
  POSTERN_AUDITD_DATABASE: (config: Config, value: string) => {
    config.source.database = value;
  },
  POSTERN_AUDITD_STATE: (config: Config, value: string) => {
    config.state = value;
  },
  POSTERN_AUDITD_CONTROL: (config: Config, value: string) => {
    config.control = value;
  },
} as const;

export interface LoadedConfig {
  readonly config: Config;
  /** The file it came from; null where the defaults run without any. */
  readonly path: string | null;
}

/**
 * Reads and checks the configuration.
 *
 * @param path file to read; null for POSTERN_AUDITD_CONFIG, else /etc/postern-auditd/config.yml, else the defaults
 * @throws AuditdError `CONFIG_MISSING`, or `CONFIG_INVALID` with every problem as `file:line:column: key: found, allowed`
 */
export function loadConfig(path: string | null, env: NodeJS.ProcessEnv): LoadedConfig {
  const named = path ?? env.POSTERN_AUDITD_CONFIG ?? null;
  const file = named ?? (existsSync(DEFAULT_PATH) ? DEFAULT_PATH : null);
  const config = file === null ? schema.parse({}) : parseConfig(read(file), file);
  for (const [name, apply] of Object.entries(OVERRIDES)) {
    const value = env[name];
    if (value !== undefined && value !== '') apply(config, value);
  }
  return { config, path: file };
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const why = { ENOENT: 'is not there', EACCES: 'may not be read by this user', EISDIR: 'is a directory' }[codeOf(error) ?? ''];
    throw new AuditdError(
      'CONFIG_MISSING',
      `The configuration file ${file} ${why ?? `can't be read (${messageOf(error)})`}. Name another with --config, or start from the shipped config/config.yml`,
      { cause: error },
    );
  }
}

/**
 * Checks the text of a configuration file.
 *
 * @param file only for the messages
 * @throws AuditdError `CONFIG_INVALID`
 */
export function parseConfig(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${Math.max(1, line)}:${Math.max(1, col)}`;
  };
  if (document.errors.length > 0) {
    refuse(document.errors.map((error) => `${place(error.pos[0])}: ${error.message.split(' at line ')[0]?.trim() ?? error.message}`));
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    refuse([`${place(0)}: ${messageOf(error)}`]);
  }
  const parsed = schema.safeParse(value);
  const valueAt = (path: Problem['path']) => path.reduce<unknown>((at, part) => member(at, part), value);
  const problems = parsed.success
    ? crossProblems(parsed.data)
    : problemsOf(parsed.error.issues, valueAt, (path) => keysAt(path, value));
  if (problems.length > 0) {
    const sorted = problems
      .map((problem) => ({ offset: offsetOf(document.contents, problem), problem }))
      .sort((a, b) => a.offset - b.offset);
    refuse(sorted.map(({ offset, problem }) => `${place(offset)}: ${keyName(problem.path)}: ${problem.message}`));
  }
  if (!parsed.success) throw parsed.error; // not reached: a failure has issues
  return parsed.data;
}

function refuse(problems: readonly string[]): never {
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  throw new AuditdError('CONFIG_INVALID', `The configuration has ${count}:\n  ${problems.join('\n  ')}`);
}

function keyName(path: Problem['path']): string {
  return path.length === 0 ? 'the file' : path.map(String).join('.');
}

function member(value: unknown, part: string | number): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[part] : undefined;
}

/** Where in the text a problem is: its key, its value, or the nearest thing around it that is there. */
function offsetOf(root: Node | null, { path, atKey }: Problem): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const [depth, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part));
      if (pair === undefined) return offset;
      const keyOffset = isScalar(pair.key) ? (pair.key.range?.[0] ?? offset) : offset;
      const last = depth === path.length - 1;
      const valueOffset = (pair.value as Node | null)?.range?.[0];
      offset = last && !atKey ? (valueOffset ?? keyOffset) : keyOffset;
      node = pair.value;
    } else if (typeof part === 'number' && typeof node === 'object' && node !== null && 'items' in node) {
      node = (node.items as unknown[])[part];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else {
      return offset;
    }
  }
  return offset;
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly const?: unknown;
}

/** The keys that the schema knows at a path; in a sink, those of its type. */
function keysAt(path: Problem['path'], value: unknown): readonly string[] {
  let at = z.toJSONSchema(schema, { io: 'input' }) as JsonSchema;
  let here = value;
  for (const part of path) {
    here = member(here, part);
    const next = at.properties?.[part] ?? at.items ?? (typeof at.additionalProperties === 'object' ? at.additionalProperties : undefined);
    if (next === undefined) return [];
    const options = next.anyOf ?? next.oneOf;
    const type = member(here, 'type');
    at = options?.find((option) => option.properties?.type?.const === type) ?? options?.find((option) => option.properties) ?? next;
  }
  return Object.keys(at.properties ?? {});
}
