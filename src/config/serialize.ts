import { Document, isScalar, visit } from 'yaml';
import { formatDuration, formatMode, formatSize } from './duration-and-size.js';
import { additional, chosen, type JsonSchema, jsonSchema } from './json-schema.js';
import type { Config } from './schema.js';
import { withoutLogin } from './validation-messages.js';

/**
 * The configuration in the form of its file, with durations, sizes and modes as texts: `parseConfig` reads it back.
 * Passwords in addresses (nats://user:password@host) are left out.
 */
export function toUserForm(config: Config): Readonly<Record<string, unknown>> {
  return toUserValue(config, jsonSchema()) as Readonly<Record<string, unknown>>;
}

/** The text of a configuration file, with each list on one line. */
export function formatConfig(config: Config): string {
  const document = new Document(toUserForm(config));
  visit(document, {
    Seq: (_, list) => {
      list.flow = list.items.every(isScalar);
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

/** A value in the form of the file: `86400000` is `1d` if the schema describes a duration. */
export function toUserValue(value: unknown, schema: JsonSchema | undefined): unknown {
  if (Array.isArray(value)) return value.map((item) => toUserValue(item, chosen(schema, value)?.items));
  const here = chosen(schema, value);
  if (typeof value === 'number') {
    if (here?.unit === 'duration' || here?.unit === 'age') return formatDuration(value);
    if (here?.unit === 'size') return formatSize(value);
    return here?.unit === 'mode' ? formatMode(value) : value;
  }
  if (value === null && here?.unit === 'age') return 'forever';
  if (typeof value === 'string') return withoutLogin(value);
  if (typeof value !== 'object' || value === null) return value;
  const order = Object.keys(here?.properties ?? {});
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => order.indexOf(a) - order.indexOf(b))
      .map(([key, member]) => [key, toUserValue(member, here?.properties?.[key] ?? additional(here))]),
  );
}
