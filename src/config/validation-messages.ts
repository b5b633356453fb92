import type { core } from 'zod';
import { nearest } from '../audit/did-you-mean.js';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { homesOf, keysAt } from './json-schema.js';
import { type KeyPath, valueAtPath } from './key-path.js';

/** One problem. The path leads to the key or the value in the file. */
export interface ConfigProblem {
  readonly path: KeyPath;
  /** True if the key itself is wrong, not its value. */
  readonly atKey: boolean;
  /** What was found and what is allowed. */
  readonly message: string;
}

type Issue = core.$ZodIssue;

/**
 * Turns the issues of zod into texts with what was found and what is allowed. Values of keys that may be secret are not repeated.
 *
 * @param value the value with the issues
 */
export function problemsOf(issues: readonly Issue[], value: unknown): ConfigProblem[] {
  return issues.flatMap((issue): ConfigProblem[] => {
    const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.map((key) => unknownKey([...path, key], key, keysAt(path, value)));
      case 'invalid_key': {
        const name = JSON.stringify(String(path.at(-1) ?? ''));
        const message = `found the name ${name}, allowed are lower-case letters, digits, - and _, a letter first`;
        return [{ path, atKey: true, message }];
      }
      case 'invalid_union':
        return [{ path, atKey: false, message: unfit(path, issue, value) }];
      case 'custom':
        // Checks of several keys have complete messages; checks made by `only` name what is allowed.
        if (issue.params?.allowed !== true) return [{ path, atKey: false, message: issue.message }];
        break;
    }
    return [
      {
        path,
        atKey: false,
        message: `found ${found(path, valueAtPath(value, path))}, allowed is ${allowed(issue)}`,
      },
    ];
  });
}

function unknownKey(path: KeyPath, key: string, keys: readonly string[]): ConfigProblem {
  const near = nearest(key, keys);
  const home = near === null ? homesOf(key)[0] : undefined;
  const hint =
    near !== null
      ? ` Did you mean ${near}?`
      : home === undefined
        ? ''
        : ` It belongs ${home === '' ? 'to the top' : `under ${home}`}.`;
  const list = keys.length === 0 ? '' : ` Allowed here: ${keys.join(', ')}`;
  return { path, atKey: true, message: `found an unknown key.${hint}${list}` };
}

/** A sink of an unknown type, or a value that matches none of several shapes. */
function unfit(path: KeyPath, issue: Issue & { readonly code: 'invalid_union' }, value: unknown): string {
  const at = valueAtPath(value, path);
  if (issue.errors.length > 0) {
    const first = issue.errors.map((errors) => errors[0]).filter((error) => error !== undefined);
    return `found ${found(path, at)}, allowed is ${[...new Set(first.map(allowed))].join(', or ')}`;
  }
  const options = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
  const near = typeof at === 'string' ? nearest(at, options) : null;
  return `found ${found(path, at)}, allowed is ${either(options)}${near === null ? '' : `. Did you mean ${near}?`}`;
}

const SECRET = /credential|password|secret|token|passphrase|(^|_)key$/i;
const LONGEST = 60;

/** A value as a message may show it. */
function found(path: KeyPath, value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'an empty value';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return String(value);
  if (path.some((part) => typeof part === 'string' && SECRET.test(part))) return 'a text (not shown)';
  if (/\n|-----BEGIN/.test(value)) return 'a text of several lines (not shown)';
  const shown = withoutLogin(value);
  return quoted(shown.length > LONGEST ? `${shown.slice(0, LONGEST - 1)}…` : shown);
}

/** `nats://user:password@host` without the part before the last @. */
export function withoutLogin(text: string): string {
  const [first = '', ...rest] = text.split('://');
  return [first, ...rest.map((part) => part.replace(/^[^/\s]*@/, '***@'))].join('://');
}

/** In quotes, with unsafe characters as \u…. */
export function quoted(text: string): string {
  return toSafeJson(text);
}

/** `a`, `a or b`, `a, b or c`. */
function either(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a whole number',
  int: 'a whole number',
  record: 'a mapping',
  object: 'a mapping',
  array: 'a list',
  boolean: 'true or false',
};

function allowed(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.startsWith('Invalid')
        ? (TYPES[String(issue.expected)] ?? String(issue.expected))
        : issue.message;
    case 'invalid_value':
      return either(issue.values.map(String));
    case 'too_small':
      if (issue.origin === 'array') return `a list of at least ${issue.minimum}`;
      return issue.origin === 'string' ? 'text that is not empty' : `at least ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'array' ? `a list of at most ${issue.maximum}` : `at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}
