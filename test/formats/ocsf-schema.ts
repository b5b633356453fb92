import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';

/** The published field list; see `source`, `version` and `note` in it. */
interface Described {
  readonly constraints?: { readonly at_least_one?: readonly string[] };
  readonly attributes: Readonly<Record<string, string>>;
}

interface DescribedClass extends Described {
  readonly caption: string;
  readonly category: string;
  readonly activities: Readonly<Record<string, string>>;
}

interface Schema {
  readonly version: string;
  readonly classes: Readonly<Record<string, DescribedClass>>;
  readonly objects: Readonly<Record<string, Described>>;
}

export const ocsfSchema = JSON.parse(
  readFileSync(new URL('./fields/ocsf-1.8.0.json', import.meta.url), 'utf8'),
) as Schema;

const types: Readonly<Record<string, (value: unknown) => boolean>> = {
  boolean_t: (value) => typeof value === 'boolean',
  integer_t: (value) => Number.isInteger(value),
  long_t: (value) => Number.isInteger(value),
  timestamp_t: (value) => Number.isInteger(value),
  ip_t: (value) => typeof value === 'string' && isIP(value) !== 0,
  email_t: (value) =>
    typeof value === 'string' &&
    /^[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+$/.test(value),
  json_t: () => true,
};

function checkValue(spec: string, value: unknown, path: string, found: string[]): void {
  const [type = '', values] = spec.replace('!', '').split(' ');
  if (type.endsWith('[]')) {
    if (!Array.isArray(value)) found.push(`${path}: no list`);
    else
      value.forEach((item, index) => {
        checkValue(type.slice(0, -2), item, `${path}[${index}]`, found);
      });
    return;
  }
  if (values !== undefined && !values.split(',').includes(String(value))) {
    found.push(`${path}: ${String(value)} is not in its enumeration`);
  }
  const object = /^\{(.+)\}$/.exec(type)?.[1];
  if (object === undefined) {
    const test = types[type] ?? ((text: unknown) => typeof text === 'string');
    if (!test(value)) found.push(`${path}: ${JSON.stringify(value)} is no ${type}`);
  } else if (object !== 'object') {
    const described = ocsfSchema.objects[object];
    if (described === undefined) found.push(`${path}: the list has no object ${object}`);
    else checkObject(described, value, path, found);
  }
}

function checkObject(described: Described, value: unknown, path: string, found: string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    found.push(`${path}: no object`);
    return;
  }
  const members = value as Record<string, unknown>;
  for (const [key, spec] of Object.entries(described.attributes)) {
    if (key in members) checkValue(spec, members[key], `${path}.${key}`, found);
    else if (/^[^ ]*!/.test(spec)) found.push(`${path}.${key} is missing`);
  }
  for (const key of Object.keys(members)) {
    if (!(key in described.attributes)) found.push(`${path}.${key} is not of the schema`);
  }
  const oneOf = described.constraints?.at_least_one;
  if (oneOf !== undefined && !oneOf.some((key) => key in members)) {
    found.push(`${path} has none of ${oneOf.join(', ')}`);
  }
}

/** The errors of an event by the list of its class; empty if it is valid. */
export function ocsfFaults(event: Record<string, unknown>): string[] {
  const described = ocsfSchema.classes[String(event.class_uid)];
  if (described === undefined) return [`class ${String(event.class_uid)} is not in the list`];
  const found: string[] = [];
  checkObject(described, event, '', found);
  const expected = Number(event.class_uid) * 100 + Number(event.activity_id);
  if (event.type_uid !== expected) found.push(`type_uid should be ${expected}`);
  if (event.class_name !== undefined && event.class_name !== described.caption)
    found.push(`class_name should be ${described.caption}`);
  if (event.category_name !== undefined && event.category_name !== described.category)
    found.push(`category_name should be ${described.category}`);
  return found;
}
