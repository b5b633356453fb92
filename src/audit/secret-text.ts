/** Blocks of private keys in PEM; one that was cut off goes to the end. */
const PEM =
  /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)/g;
/** `https://user:secret@host`. */
const IN_URL = /(:\/\/[^/\s:@"']{0,256}:)([^/\s@"']{1,1024})(?=@)/g;
/** Headers: all of the line, as their values have spaces. */
const HEADER = /((?:authorization|cookie)\s{0,8}[:=]\s{0,8})([^\s"'\\][^\r\n]*)/gi;
const SCHEME = /(\b(?:bearer|basic|digest)\s{1,8})([\w.~+/=-]{8,})/gi;
/** Password hashes of crypt(3) and JSON Web Tokens, under whatever name. */
const HASH = /\$(?:2[abxy]?|5|6|y|argon2(?:id?|d))\$[\w./$,=+-]{8,}/g;
const JWT = /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g;
/**
 * `name=`, `name: `, `"name":`, also with escaped quotes. Tried at the beginnings of words only and with bounds, so that a text
 * takes time in proportion to its length.
 */
const ASSIGNMENT = /(?<![\p{L}\p{N}_.-])([\p{L}\p{N}_.-]{1,128})\\*["']?\s{0,8}[:=]\s{0,8}/gu;
/** What is assigned: up to the end of its quotes, all of the rest if it is a list or object (this is no JSON), else a word. */
const VALUE = /"(?:[^"\\]|\\[\s\S])*"?|'[^']*'?|(\\+["'])[\s\S]*?(?:\1|$)|[{[][\s\S]*|[^\s,;&"'\\{}[\]]+/y;

/** Source of a regular expression (flag `i`) that finds texts with a form that has neither a name nor one of the signs. */
export const TEXT_HINT = 'bearer|basic|digest|eyj';
/** Of a password in a URL, and of a password hash. */
export const TEXT_SIGNS = ['@', '$'] as const;

/**
 * The text with the obvious secrets in it covered. What has no name, form or mark of a secret can't be told from other
 * text, and stays.
 */
export function maskText(
  text: string,
  isSecret: (key: string) => boolean,
  cover: (secret: string) => string,
): string {
  const covered = text
    .replace(PEM, cover)
    .replace(IN_URL, (_, before: string, secret: string) => before + cover(secret))
    .replace(HEADER, (_, name: string, secret: string) => name + cover(secret))
    .replace(SCHEME, (_, scheme: string, secret: string) => scheme + cover(secret))
    .replace(HASH, cover)
    .replace(JWT, cover);
  let masked = '';
  let done = 0;
  for (const { 0: assignment, 1: name = '', index } of covered.matchAll(ASSIGNMENT)) {
    if (index < done || !isSecret(name)) continue;
    VALUE.lastIndex = index + assignment.length;
    const [value] = VALUE.exec(covered) ?? [];
    if (value === undefined) continue;
    masked += covered.slice(done, index + assignment.length) + coverQuoted(value, cover);
    done = index + assignment.length + value.length;
  }
  return masked + covered.slice(done);
}

/** Covers what stands between the quotes, if there are any; words that say nothing secret stay. */
function coverQuoted(value: string, cover: (secret: string) => string): string {
  const [, quote = '', inner = value, end = ''] = /^(\\*["'])([\s\S]*?)(\1?)$/.exec(value) ?? [];
  return /^(?:true|false|null|[01])?$/.test(inner) ? value : quote + cover(inner) + end;
}
