import { createHmac } from 'node:crypto';

/** Names of secrets, parts apart. A key is secret if it is one of these or ends in one: `smtp_password`, `apiKey`, `tokens`. */
const SECRET_NAMES: readonly string[] = [
  'password',
  'passwd',
  'passphrase',
  'secret',
  'token',
  'api key',
  'access key',
  'private key',
  'ssh key',
  'certificate key',
  'credential',
  'authorization',
  'cookie',
  'session id',
  'recovery code',
  'backup code',
];
/** Secret only as a whole key: as the end of other words (`mapping`, `rehash`) they are none. */
const WHOLE_NAMES: readonly string[] = ['pin', 'otp', 'totp', 'salt', 'hash', 'pwd', 'pepper'];

const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const MASK = '***';
/** Nesting beyond this is not walked: such details travel as text that was masked as text. */
const DEEPEST = 64;

export interface RedactionOptions {
  /** Further names of secrets. */
  readonly keys: readonly string[];
  readonly mode: 'mask' | 'hmac';
  /** For mode `hmac`: equal secrets stay comparable, and can't be found by trying without this key. */
  readonly hmacKey?: Buffer;
}

export type Redactor = (details: string | null) => string | null;

/**
 * Makes the function that turns the column `details` into what may leave the host: compact JSON text of an object,
 * secrets masked at any depth.
 *
 * JSON that is no object comes under `value`, text that is no JSON under `text`. Of a key that stands twice in an object
 * the last one counts, as in JavaScript; numbers that a double can't hold come as the nearest it can.
 */
export function createRedactor(options: RedactionOptions): Redactor {
  const endings = [...SECRET_NAMES, ...options.keys.map(spaced).filter((key) => key !== '')];
  const whole = new Set(WHOLE_NAMES);
  const plainEndings = endings.map(plain);
  // Quick look at the raw text: a letter of a name may be written as \u0070, so any \u makes it slow and sure.
  const suspicious = new RegExp(
    `\\\\u|PRIVATE KEY|${endings.map(loose).join('|')}|"(?:${WHOLE_NAMES.join('|')})s?"\\s*:`,
    'i',
  );
  const inText = new RegExp(`((?:${endings.map(loose).join('|')})s?["']?\\s*[=:]\\s*)("[^"]*"|'[^']*'|[^\\s,;&}]+)`, 'gi');
  const cover = (value: unknown): string => {
    if (options.mode === 'mask') return MASK;
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return `hmac:${createHmac('sha256', options.hmacKey ?? '').update(text).digest('hex').slice(0, 16)}`;
  };
  const isSecret = (key: string): boolean => {
    const name = plain(key).replace(/s$/, '');
    return whole.has(name) || plainEndings.some((ending) => name.endsWith(ending));
  };
  const maskText = (text: string): string =>
    suspicious.test(text)
      ? text
          .replace(PEM, (secret) => cover(secret))
          .replace(inText, (_, name: string, secret: string) => `${name}${cover(secret.replace(/^(["'])(.*)\1$/s, '$2'))}`)
      : text;
  const walk = (value: unknown, depth: number): unknown => {
    if (typeof value === 'string') return maskString(value, depth);
    if (typeof value !== 'object' || value === null) return value;
    if (depth > DEEPEST) throw new RangeError('nested too deeply');
    if (Array.isArray(value)) return value.map((item) => walk(item, depth + 1));
    // fromEntries defines members: a key `__proto__` stays a key.
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, hides(item) && isSecret(key) ? cover(item) : walk(item, depth + 1)]),
    );
  };
  /** JSON inside of a string is masked as JSON, other text as text. */
  const maskString = (text: string, depth: number): string => {
    if (!suspicious.test(text)) return text;
    if (/^\s*[[{]/.test(text)) {
      const inner = parse(text);
      if (typeof inner === 'object' && inner !== null) return JSON.stringify(walk(inner, depth + 1));
    }
    return maskText(text);
  };
  const asText = (text: string): string => JSON.stringify({ text: maskText(text) });

  return (details) => {
    if (details === null) return null;
    const value = parse(details);
    if (value === undefined) return asText(details);
    const object = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : { value };
    try {
      return JSON.stringify(suspicious.test(details) ? walk(object, 0) : object);
    } catch {
      return asText(details); // nested so deeply that it can't be walked or written
    }
  };
}

/** Lower case, separators left out: `API-Key`, `apiKey` and `api_key` are one name. */
function plain(key: string): string {
  return key.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** A configured name with its parts apart: `apiKey`, `api-key` → `api key`. */
function spaced(key: string): string {
  return key
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, ' ')
    .trim()
    .replace(/s$/, '');
}

/** A name with any separator, or none, between its parts, as a regular expression. */
function loose(name: string): string {
  return name.replaceAll(' ', '[^a-z0-9"]?');
}

/** True, false, null and empty text say nothing that is secret. */
function hides(value: unknown): boolean {
  return value !== null && value !== '' && typeof value !== 'boolean';
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
