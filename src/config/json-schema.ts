import { z } from 'zod';
import { type KeyPath, valueAtPath } from './key-path.js';
import { config } from './schema.js';

/** The part of JSON Schema that zod writes for this configuration. `unit` is our extension for texts that mean a number. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly unit?: 'age' | 'duration' | 'size' | 'mode' | 'path';
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

let made: JsonSchema | undefined;

/** The JSON Schema (draft 7, for editors) of the configuration file. */
export function jsonSchema(): JsonSchema {
  made ??= z.toJSONSchema(config, { io: 'input', target: 'draft-7' }) as JsonSchema;
  return made;
}

/** The schema at a path; in a sink, the schema of its type. Undefined if there is none. */
function schemaAt(path: KeyPath, value: unknown): JsonSchema | undefined {
  let at: JsonSchema | undefined = jsonSchema();
  for (const [depth, part] of path.entries()) {
    const members: JsonSchema | undefined = chosen(at, valueAtPath(value, path.slice(0, depth)));
    at = typeof part === 'number' ? members?.items : (members?.properties?.[part] ?? additional(members));
  }
  return chosen(at, valueAtPath(value, path));
}

/** The alternative that a value's `type` names, else the first one that is not null. */
export function chosen(schema: JsonSchema | undefined, value: unknown): JsonSchema | undefined {
  const options = schema?.anyOf ?? schema?.oneOf;
  if (options === undefined) return schema;
  const type = valueAtPath(value, ['type']);
  return (
    options.find((option) => option.properties?.type?.const === type) ??
    options.find((option) => option.type !== 'null')
  );
}

export function additional(schema: JsonSchema | undefined): JsonSchema | undefined {
  return typeof schema?.additionalProperties === 'object' ? schema.additionalProperties : undefined;
}

/** The keys that are allowed in the mapping at a path. */
export function keysAt(path: KeyPath, value: unknown): readonly string[] {
  return Object.keys(schemaAt(path, value)?.properties ?? {});
}

/** The sections with a key of this name, such as `fail2ban`; '' for the top level. Sinks are left out: users choose their names. */
export function homesOf(key: string, schema = jsonSchema(), above: readonly string[] = []): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => [
    ...(name === key ? [above.join('.')] : []),
    ...homesOf(key, inner, [...above, name]),
  ]);
}
