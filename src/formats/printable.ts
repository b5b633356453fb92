// C0, DEL, C1 and the two Unicode line ends: what a collector may take for the end of a frame, or what rsyslog
// would rewrite as #011 on reception. U+FEFF: at the start of a body it means the encoding (RFC 5424 section 6.4).
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/;
const everyUnprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/g;

function picture(character: string): string {
  const code = character.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  return code === 0x2028 || code === 0x2029 ? '\u2424' : '\ufffd';
}

function jsonEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Text on one line and without control characters: each is shown as its picture (U+2400 to U+2424), those that
 * have none as U+FFFD.
 */
export function printable(text: string): string {
  return unprintable.test(text) ? text.replace(everyUnprintable, picture) : text;
}

/**
 * JSON text without a raw control character: `JSON.stringify` leaves DEL, C1, U+2028 and U+2029 as they are, here they
 * are escaped. The text must be compact, so that such characters stand in strings only. An escaped NUL becomes its
 * picture: rsyslog (libfastjson) ends a string there, and whoever sends one would hide what follows.
 */
export function printableJson(json: string): string {
  const shown = json.includes('\\u0000') ? json.replace(/(?<!\\)((?:\\\\)*)\\u0000/g, '$1\\u2400') : json;
  return unprintable.test(shown) ? shown.replace(everyUnprintable, jsonEscape) : shown;
}
