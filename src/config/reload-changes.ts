import { createSecretNames } from '../audit/secret-names.js';
import { diffConfig } from './config-diff.js';
import type { Config } from './schema.js';
import { toUserForm } from './serialize.js';

/** A key with its value before and after; null where it is missing. */
export interface ChangedValue {
  readonly from: unknown;
  readonly to: unknown;
}

const MASKED = '***';

/** The changed keys with both values, in the form of the configuration file. Passwords and the like are masked. */
export function changedValues(before: Config, after: Config): Readonly<Record<string, ChangedValue>> {
  const [was, is] = [before, after].map(toUserForm);
  const names = createSecretNames(after.redact.keys);
  const masked = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((one) => masked(one, key));
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, masked(one, name)]));
    // The name of a file is not its content.
    const isPath = typeof value === 'string' && value.startsWith('/');
    return typeof value === 'string' && !isPath && names.isSecret(key) ? MASKED : (value ?? null);
  };
  return Object.fromEntries(
    diffConfig(before, after).map(({ key, path }) => {
      const last = path.at(-1) ?? '';
      return [key, { from: masked(valueAt(was, path), last), to: masked(valueAt(is, path), last) }];
    }),
  );
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, key) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, key)
        ? (at as Record<string, unknown>)[key]
        : undefined,
    value,
  );
}
