import { pictured, safeJson } from '../audit/unsafe-characters.js';

/**
 * Text on one line and without unsafe characters. A collector may take some of them for the end of a frame. rsyslog rewrites some as #011 on
 * reception. At the start of a body U+FEFF declares the encoding (RFC 5424 section 6.4).
 */
export function printable(text: string): string {
  return pictured(text);
}

/**
 * JSON text without a raw unsafe character. The text must be compact, so that only strings contain such characters. An escaped
 * NUL becomes its picture: rsyslog (libfastjson) ends a string there, so that a sender could hide what follows.
 */
export function printableJson(json: string): string {
  return safeJson(json.includes('\\u0000') ? json.replace(/(?<!\\)((?:\\\\)*)\\u0000/g, '$1\\u2400') : json);
}
