import { createHmac } from 'node:crypto';
import { isNestedDeeper, withExactNumbers } from './json-text.js';
import { createTextMask } from './mask-secrets-in-text.js';
import { isCanonicalJson } from './round-trip-json.js';
import { COMMAND_HINT } from './secret-commands.js';
import { FORM_HINT, FORM_SIGNS } from './secret-forms.js';
import { createJsonMask } from './secret-json.js';
import { createSecretNames } from './secret-names.js';

const MASK = '***';
const COVERED = /^(?:\*\*\*|hmac:[0-9a-f]{16})$/;
/** Elasticsearch refuses objects nested more deeply than 20 levels, and two levels are ours. Other parsers allow few more. */
const DEEPEST = 16;

export interface RedactionOptions {
  /** Further names of secrets. */
  readonly keys: readonly string[];
  readonly mode: 'mask' | 'hmac';
  /** For mode `hmac`, where it must be given: equal secrets stay comparable, and can't be found by trying without this key. */
  readonly hmacKey?: Buffer;
}

export type Redactor = (details: string | null) => string | null;

/**
 * Creates the function that turns the column `details` into a text that may leave the host: compact JSON of an object, with
 * secrets replaced by `"***"`, or by `"hmac:<16 hex digits>"` of HMAC-SHA-256.
 *
 * - What is a secret by its name is decided in secret-names.ts, at any depth, whatever the value is but true, false, null, 0, 1,
 *   empty text and counts (`tokens: 5`); a secret by its form (a private key, a header, a password in a URL), in secret-forms.ts.
 *   JSON inside of a string is masked as JSON.
 * - JSON that is not an object is put under `value`; text that is not JSON, or is nested deeper than 16 levels, under `text`; empty
 *   text is null.
 * - If a key appears twice in an object, the last one counts. Numbers that a double can't hold (`9223372036854775807`,
 *   `1e400`) become text with all their digits. Key order is that of JavaScript: numbers first.
 *
 * @throws Error if `mode` is hmac and there is no key
 */
export function createRedactor(options: RedactionOptions): Redactor {
  const names = createSecretNames(options.keys);
  const cover = coverBy(options);
  const hint = new RegExp([names.hint, FORM_HINT, COMMAND_HINT].join('|'));
  /** Whether to look closely. A backslash may hide a letter of a name, or JSON inside of a string. */
  const isSuspicious = (text: string): boolean =>
    hint.test(text.toLowerCase()) || FORM_SIGNS.some((sign) => text.includes(sign)) || text.includes('\\');
  const maskString = createTextMask(names, cover);
  const walk = createJsonMask({
    names,
    cover,
    isSuspicious,
    maskString,
    parse: (text) => (isDeep(text) ? undefined : parse(text)),
  });
  const asText = (text: string): string => JSON.stringify({ text: maskString(text) });

  return (details) => {
    if (details === null || details === '') return null;
    const suspicious = isSuspicious(details);
    if (!suspicious && isCanonicalJson(details, DEEPEST)) return details; // most are: the code below would return the same
    const value = parse(details);
    if (value === undefined || isDeep(details)) return asText(details);
    if (suspicious) return JSON.stringify(walk(asObject(exactly(details, value))));
    const compact = JSON.stringify(asObject(value));
    return compact === details ? compact : JSON.stringify(asObject(exactly(details, value)));
  };
}

function coverBy({ mode, hmacKey }: RedactionOptions): (secret: unknown) => string {
  if (mode === 'mask') return () => MASK;
  if (hmacKey === undefined || hmacKey.length === 0) throw new Error('Masking by HMAC needs a key');
  return (secret) => {
    const text = typeof secret === 'string' ? secret : JSON.stringify(secret);
    if (COVERED.test(text)) return text;
    return `hmac:${createHmac('sha256', hmacKey).update(text).digest('hex').slice(0, 16)}`;
  };
}

function asObject(value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : { value };
}

/** Whether it is nested more deeply than can be shipped. */
function isDeep(json: string): boolean {
  return isNestedDeeper(json, DEEPEST);
}

/** The value of a JSON text, with numbers that a double can't hold as text. */
function exactly(json: string, value: unknown): unknown {
  const exact = withExactNumbers(json);
  return exact === json ? value : parse(exact);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
