import { pictured, safeJson } from '../audit/unsafe-characters.js';

/**
 * Text on one line and without unsafe characters: what a collector may take for the end of a frame, what rsyslog would rewrite as #011 on
 * reception, what means the encoding at the start of a body (U+FEFF, RFC 5424 section 6.4).
 */
export function printable(text: string): string {
  return pictured(text);
}

/**
 * JSON text without a raw unsafe character. The text must be compact, so that such characters are in strings only. An escaped
 * NUL becomes its picture: rsyslog (libfastjson) ends a string there, so that a sender could hide what follows.
 */
export function printableJson(json: string): string {
  return safeJson(json.includes('\\u0000') ? json.replace(/(?<!\\)((?:\\\\)*)\\u0000/g, '$1\\u2400') : json);
}
