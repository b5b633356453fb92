import type { core } from 'zod';
import { nearest } from './nearest.js';

/** One thing that is wrong, where the path leads to the key or the value in the file. */
export interface Problem {
  readonly path: ReadonlyArray<string | number>;
  /** True if the key itself is wrong, not its value. */
  readonly atKey: boolean;
  readonly message: string;
}

type Issue = core.$ZodIssue;

/** What zod found, in words that name what was found and what is allowed. Values of keys that may be secret are not repeated. */
export function problemsOf(
  issues: readonly Issue[],
  valueAt: (path: ReadonlyArray<string | number>) => unknown,
  keysAt: (path: ReadonlyArray<string | number>) => readonly string[],
): Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => unknownKey([...path, key], key, keysAt(path)));
    }
    if (issue.code === 'invalid_key') {
      const name = String(path.at(-1) ?? '');
      return [{ path, atKey: true, message: `"${name}" is no name: lower-case letters, digits, - and _, a letter first` }];
    }
    if (issue.code === 'invalid_union') return [wrongType(path, issue, valueAt, keysAt)];
    return [{ path, atKey: false, message: `found ${found(path, valueAt(path))}, allowed is ${allowed(issue)}` }];
  });
}

function unknownKey(path: ReadonlyArray<string | number>, key: string, keys: readonly string[]): Problem {
  const meant = nearest(key, keys);
  const list = keys.length === 0 ? '' : ` Known here: ${keys.join(', ')}.`;
  return { path, atKey: true, message: `unknown key.${meant === null ? list : ` Did you mean ${meant}?${list}`}` };
}

/** A sink of an unknown type: zod's discriminated union names the options. */
function wrongType(
  path: ReadonlyArray<string | number>,
  issue: Issue & { readonly code: 'invalid_union' },
  valueAt: (path: ReadonlyArray<string | number>) => unknown,
  keysAt: (path: ReadonlyArray<string | number>) => readonly string[],
): Problem {
  if (issue.errors.length === 0) {
    const options = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : keysAt(path);
    const value = valueAt(path);
    const meant = typeof value === 'string' ? nearest(value, options) : null;
    const hint = meant === null ? '' : `. Did you mean ${meant}?`;
    return { path, atKey: false, message: `found ${found(path, value)}, allowed is ${options.join(' or ')}${hint}` };
  }
  const options = issue.errors.map((errors) => errors[0]).filter((first) => first !== undefined);
  return { path, atKey: false, message: `found ${found(path, valueAt(path))}, allowed is ${[...new Set(options.map(allowed))].join(', or ')}` };
}

const SECRET = /credential|password|secret|token|key/i;

function found(path: ReadonlyArray<string | number>, value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null (an empty value)';
  if (path.some((part) => typeof part === 'string' && SECRET.test(part) && part !== 'keys')) return `a ${typeof value} (not shown)`;
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…"` : text;
}

function allowed(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return { string: 'text', int: 'a whole number', record: 'a mapping', object: 'a mapping', array: 'a list', boolean: 'true or false' }[
        String(issue.expected)
      ] ?? `a ${issue.expected}`;
    case 'invalid_value':
      return issue.values.map((value) => String(value)).join(', ');
    case 'too_small':
      return issue.origin === 'array' ? 'a list with something in it' : `at least ${issue.minimum}`;
    case 'too_big':
      return `at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}
