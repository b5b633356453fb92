/**
 * The one list of characters that are not plainly text, and how they are shown in each medium.
 *
 * They move a cursor, ring, colour, hide what stands beside them, turn the direction of writing round, end a line or a frame, or are not
 * to be seen at all, so that two names look the same: controls, format characters, half surrogates, private use, the line ends of
 * Unicode, and what Unicode calls default ignorable (variation selectors, fillers, tags). Unassigned characters are not among them,
 * for what is unassigned depends on the release of Node.js, and the same row must give the same line. Nor is the private use of the
 * planes 15 and 16: it shows as a box, and rsyslog's reader of JSON (libfastjson 0.99.9) takes an escaped U+FDC14, or any whose last
 * four digits are of a surrogate, for half a character (measured).
 */
const LIST = String.raw`\p{Cc}\p{Cf}\p{Cs}\ue000-\uf8ff\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}`;
const UNSAFE = new RegExp(`[${LIST}]`, 'u');
const EVERY_UNSAFE = new RegExp(UNSAFE.source, 'gu');
/** What is of ASCII and safe, as nearly all text is. */
const PLAIN = /^[ -~]*$/;
/** JSON text has control characters of C0 only between its tokens. */
const RAW_IN_JSON = new RegExp(`(?![\\u0000-\\u001f])[${LIST}]`, 'u');
const EVERY_RAW_IN_JSON = new RegExp(RAW_IN_JSON.source, 'gu');

/** Whether a text has any of them. */
export function hasUnsafe(text: string): boolean {
  return !PLAIN.test(text) && UNSAFE.test(text);
}

/** JSON text of the same value in which each of them is escaped (`\u202e`). */
export function safeJson(json: string): string {
  if (PLAIN.test(json) || !RAW_IN_JSON.test(json)) return json;
  return json.replace(EVERY_RAW_IN_JSON, (character) => {
    let escaped = '';
    for (let at = 0; at < character.length; at++) escaped += `\\u${hex(character.charCodeAt(at), 4)}`;
    return escaped;
  });
}

/** A value as JSON text without any of them, for a terminal, a file or a client. */
export function toSafeJson(value: unknown, indent?: number): string {
  return safeJson(JSON.stringify(value, null, indent));
}

/** For a terminal, the log and text of others in a message: each is written out, `\x1b`, `\u202e`. */
export function escapeUnsafe(text: string): string {
  return hasUnsafe(text) ? text.replace(EVERY_UNSAFE, writtenOut) : text;
}

/** The same of text with several lines of ours. */
export function visibleLines(text: string): string {
  return hasUnsafe(text) ? text.replace(EVERY_UNSAFE, (one) => (one === '\n' ? one : writtenOut(one))) : text;
}

const EVERY_UNSAFE_IN_CSV = new RegExp(`\\r\\n|${UNSAFE.source}`, 'gu');

/** For a field of CSV: the same, but that its own line ends and tabs stay. */
export function visibleInCsv(text: string): string {
  if (!hasUnsafe(text)) return text;
  return text.replace(EVERY_UNSAFE_IN_CSV, (one) =>
    one === '\r\n' || one === '\n' || one === '\t' ? one : writtenOut(one),
  );
}

/** For syslog's formats that have no escapes: a control comes as its picture (U+2400 to U+2424), any other as U+FFFD, so that no text grows by much. */
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
