const QUOTE = 34;
const COMMA = 44;
const MINUS = 45;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const OPEN_LIST = 91;
const BACKSLASH = 92;
const CLOSE_LIST = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

/** A whole number of so many digits is held by a double, and written again as it was. */
const DIGITS = 15;
/** Keys of an object are compared with one another up to so many; the work must not grow with their square. */
const KEYS = 32;

/** Where the keys of the objects that are open begin, those of the outer ones first. */
let keys = new Int32Array(16 * KEYS);

/**
 * True only if `JSON.stringify(JSON.parse(text))` is `text` itself and that is an object, nested `deepest` levels at most. Read
 * once, without creating any of its values: half the time of parsing alone. It returns false for texts that it does not check: a backslash, a half or a
 * whole surrogate pair, a number that is not short and whole, a key that begins with a digit (JavaScript puts those first) or
 * appears twice, an object of more than 32 keys.
 */
export function isCanonicalJson(text: string, deepest: number): boolean {
  if (text.charCodeAt(0) !== OPEN_OBJECT) return false;
  if (keys.length < deepest * KEYS) keys = new Int32Array(deepest * KEYS);
  return endOfObject(text, 0, deepest, 0) === text.length;
}

// Each of these is given where a value begins, and returns where it ends, or -1.

/** @param depth levels that are left, this one included @param held keys of the objects around this one */
function endOfValue(text: string, at: number, depth: number, held: number): number {
  const code = text.charCodeAt(at);
  if (code === QUOTE) return endOfString(text, at);
  if (code === OPEN_OBJECT) return endOfObject(text, at, depth, held);
  if (code === OPEN_LIST) return endOfList(text, at, depth, held);
  if (code === MINUS || (code >= ZERO && code <= NINE)) return endOfNumber(text, at);
  if (text.startsWith('true', at) || text.startsWith('null', at)) return at + 4;
  return text.startsWith('false', at) ? at + 5 : -1;
}

function endOfObject(text: string, start: number, depth: number, held: number): number {
  if (depth === 0) return -1;
  let at = start + 1;
  if (text.charCodeAt(at) === CLOSE_OBJECT) return at + 1;
  for (let known = held; ; at++) {
    if (known - held === KEYS || text.charCodeAt(at) !== QUOTE || isDigit(text.charCodeAt(at + 1))) return -1;
    const end = endOfString(text, at);
    if (end < 0 || text.charCodeAt(end) !== COLON || isAmong(text, held, known, at, end)) return -1;
    keys[known++] = at;
    at = endOfValue(text, end + 1, depth - 1, known);
    if (at < 0) return -1;
    const next = text.charCodeAt(at);
    if (next === CLOSE_OBJECT) return at + 1;
    if (next !== COMMA) return -1;
  }
}

function endOfList(text: string, start: number, depth: number, held: number): number {
  if (depth === 0) return -1;
  let at = start + 1;
  if (text.charCodeAt(at) === CLOSE_LIST) return at + 1;
  for (; ; at++) {
    at = endOfValue(text, at, depth - 1, held);
    if (at < 0) return -1;
    const next = text.charCodeAt(at);
    if (next === CLOSE_LIST) return at + 1;
    if (next !== COMMA) return -1;
  }
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code < 0x20 || code === BACKSLASH || (code & 0xf800) === 0xd800) return -1;
  }
  return -1;
}

function endOfNumber(text: string, start: number): number {
  const first = text.charCodeAt(start) === MINUS ? start + 1 : start;
  let at = first;
  while (isDigit(text.charCodeAt(at))) at++;
  const digits = at - first;
  if (digits === 0 || digits > DIGITS) return -1;
  // 0 stands alone: no other number begins with it, and JavaScript writes -0 as 0.
  if (text.charCodeAt(first) === ZERO && (digits > 1 || first > start)) return -1;
  return at; // a point or an exponent is no end of a value: the caller refuses it
}

/** Does one of these keys read as the one from `at` to `end`, quotes included? */
function isAmong(text: string, from: number, to: number, at: number, end: number): boolean {
  for (let index = from; index < to; index++) {
    const other = keys[index] ?? 0;
    let length = 1;
    while (at + length < end && text.charCodeAt(other + length) === text.charCodeAt(at + length)) length++;
    if (at + length === end) return true;
  }
  return false;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE;
}
