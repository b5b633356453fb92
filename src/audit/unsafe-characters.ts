/**
 * The one list of unsafe characters, and how each medium shows them.
 *
 * An unsafe character moves the cursor, rings the bell, changes colours, hides its neighbours, reverses the direction of writing, or ends
 * a line or a frame. An invisible one makes two names look the same. The list has controls, format characters, lone surrogates, private
 * use, the line ends of Unicode, and what Unicode calls default ignorable (variation selectors, fillers, tags).
 *
 * Unassigned characters are left out: the set depends on the release of Node.js, and the same row must give the same line. Private use of
 * the planes 15 and 16 is left out too: it shows as a box. And rsyslog's JSON reader (libfastjson 0.99.9) takes an escaped U+FDC14, or any
 * whose last four digits are those of a surrogate, for half a character (measured).
 */
const LIST = String.raw`\p{Cc}\p{Cf}\p{Cs}\ue000-\uf8ff\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}`;
const UNSAFE = new RegExp(`[${LIST}]`, 'u');
const EVERY_UNSAFE = new RegExp(UNSAFE.source, 'gu');
/** Safe ASCII, as nearly all text is. */
const PLAIN = /^[ -~]*$/;
/** JSON text has control characters of C0 only between its tokens. */
const RAW_IN_JSON = new RegExp(`(?![\\u0000-\\u001f])[${LIST}]`, 'u');
const EVERY_RAW_IN_JSON = new RegExp(RAW_IN_JSON.source, 'gu');

/** Whether a text has an unsafe character. */
export function hasUnsafe(text: string): boolean {
  return !PLAIN.test(text) && UNSAFE.test(text);
}

/** JSON text of the same value with each unsafe character escaped (`\u202e`). */
export function safeJson(json: string): string {
  if (PLAIN.test(json) || !RAW_IN_JSON.test(json)) return json;
  return json.replace(EVERY_RAW_IN_JSON, (character) => {
    let escaped = '';
    for (let at = 0; at < character.length; at++) escaped += `\\u${hex(character.charCodeAt(at), 4)}`;
    return escaped;
  });
}

/** A value as JSON text without unsafe characters, for a terminal, a file or a client. */
export function toSafeJson(value: unknown, indent?: number): string {
  return safeJson(JSON.stringify(value, null, indent));
}

/** For a terminal, the log, and foreign text in a message: each unsafe character is written as `\x1b` or `\u202e`. */
export function escapeUnsafe(text: string): string {
  return hasUnsafe(text) ? text.replace(EVERY_UNSAFE, writtenOut) : text;
}

/** The same for our own text of several lines. */
export function visibleLines(text: string): string {
  return hasUnsafe(text) ? text.replace(EVERY_UNSAFE, (one) => (one === '\n' ? one : writtenOut(one))) : text;
}

const EVERY_UNSAFE_IN_CSV = new RegExp(`\\r\\n|${UNSAFE.source}`, 'gu');

/** For a CSV field: the same, but its line ends and tabs stay. */
export function visibleInCsv(text: string): string {
  if (!hasUnsafe(text)) return text;
  return text.replace(EVERY_UNSAFE_IN_CSV, (one) =>
    one === '\r\n' || one === '\n' || one === '\t' ? one : writtenOut(one),
  );
}

/** For syslog formats without escapes: a control becomes its picture (U+2400 to U+2424), any other U+FFFD. So a text hardly grows. */
export function pictured(text: string): string {
  return hasUnsafe(text) ? text.replace(EVERY_UNSAFE, picture) : text;
}

const MARKS: Readonly<Record<string, string>> = { '\n': '⏎', '\r': '␍', '\t': '⇥' };

/** For the page. */
export function marked(text: string): string {
  return hasUnsafe(text) ? text.replace(EVERY_UNSAFE, (one) => MARKS[one] ?? named(one)) : text;
}

function writtenOut(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${hex(code, 2)}`;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${hex(code, 4)}`;
}

function picture(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return '\u2421';
  return code === 0x2028 || code === 0x2029 ? '\u2424' : '\ufffd';
}

function named(character: string): string {
  return `⟨U+${hex(character.codePointAt(0) ?? 0, 4).toUpperCase()}⟩`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}
