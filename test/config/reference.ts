import { additional, type JsonSchema, jsonSchema } from '../../src/config/json-schema.js';
import { toUserValue } from '../../src/config/serialize.js';

/** A key as the reference shows it, and its schema. `required` if it has no default and can't be omitted. */
export interface KeyEntry {
  readonly key: string;
  readonly schema: JsonSchema;
  readonly required: boolean;
}

export interface Section {
  readonly title: string;
  readonly text: string;
  readonly entries: readonly KeyEntry[];
}

/** All keys in sections: the top level, each mapping in it, each sink type. */
export function sections(schema = jsonSchema()): Section[] {
  const top = Object.entries(schema.properties ?? {});
  const mappings = top.filter(([, inner]) => inner.properties !== undefined);
  const kinds = additional(schema.properties?.sinks)?.oneOf ?? [];
  return [
    {
      title: 'At the top',
      text: '',
      entries: top.map(([key, inner]) => ({ key, schema: inner, required: false })),
    },
    ...mappings.map(([name, inner]) => ({
      title: `\`${name}\``,
      text: inner.description ?? '',
      entries: leaves(inner, `${name}.`),
    })),
    ...kinds.map((kind) => ({
      title: `\`sinks.NAME\` of \`type: ${String(kind.properties?.type?.const)}\``,
      text: kind.description ?? '',
      entries: leaves(kind, '').filter(({ key }) => key !== 'type'),
    })),
  ];
}

function leaves(schema: JsonSchema, above: string): KeyEntry[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => {
    const required = schema.required?.includes(name) === true;
    if (inner.properties === undefined) return [{ key: `${above}${name}`, schema: inner, required }];
    return leaves(inner, `${above}${name}.`);
  });
}

/** The reference as Markdown. */
export function reference(): string {
  return sections()
    .map(({ title, text, entries }) =>
      [
        `### ${title}`,
        ...(text === '' ? [] : ['', text]),
        '',
        '| key | allowed | default | meaning |',
        '| --- | --- | --- | --- |',
        ...entries.map(row),
      ].join('\n'),
    )
    .join('\n\n');
}

/** The value of an omitted key. */
export function standard({ schema, required }: KeyEntry): string {
  if (schema.default !== undefined) return shown(schema.default, schema);
  return required ? 'required' : '';
}

function row(entry: KeyEntry): string {
  const { key, schema } = entry;
  return `| \`${key}\` | ${allowed(schema)} | ${standard(entry)} | ${(schema.description ?? '').replaceAll('|', '\\|')} |`;
}

function shown(value: unknown, schema: JsonSchema): string {
  if (schema.properties !== undefined || schema.additionalProperties !== undefined) return '';
  const text = toUserValue(value, schema);
  return `\`${typeof text === 'string' ? text : JSON.stringify(text)}\``;
}

/** Describes the allowed values in words. */
export function allowed(schema: JsonSchema): string {
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return [...new Set(options.map(allowed))].join(' or ');
  if (schema.enum !== undefined) return schema.enum.map((word) => `\`${String(word)}\``).join(', ');
  if (schema.unit === 'age') return 'duration or `forever`';
  if (schema.unit !== undefined) return schema.unit;
  if (schema.type === 'array')
    return `list of ${schema.items === undefined ? 'anything' : allowed(schema.items)}`;
  if (schema.type === 'integer') return range(schema);
  if (schema.type === 'boolean') return '`true`, `false`';
  const types = [schema.type ?? []].flat();
  return types
    .map((type) => ({ object: 'mapping', string: 'text', null: '`null`' })[type] ?? type)
    .join(' or ');
}

function range({ minimum, maximum }: JsonSchema): string {
  const limited = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER;
  if (minimum === undefined) return 'number';
  return limited ? `${minimum} to ${maximum}` : `number from ${minimum}`;
}
