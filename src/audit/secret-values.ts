/** Position of a secret's value in a text, without its quotes. */
export interface SecretPlace {
  readonly from: number;
  readonly to: number;
}

const BACKSLASH = 92;
const DOUBLE = 34;
const SINGLE = 39;

export function isQuote(code: number): boolean {
  return code === DOUBLE || code === SINGLE;
}

/** Index after the backslashes that begin here. */
export function skipBackslashes(text: string, at: number): number {
  let end = at;
  while (text.charCodeAt(end) === BACKSLASH) end++;
  return end;
}

/** Index after blanks, and after newlines if `lines`. */
export function skipBlanks(text: string, at: number, lines = false): number {
  let end = at;
  for (; ; end++) {
    const code = text.charCodeAt(end);
    if (code !== 32 && code !== 9 && !(lines && (code === 10 || code === 13))) return end;
  }
}

/**
 * The text between quotes that begin at `at`, escaped or not. It ends at the same quote with as many backslashes before it or fewer, else at
 * the end of the text. Null if no quote begins there.
 */
export function quotedAt(text: string, at: number): SecretPlace | null {
  const open = skipBackslashes(text, at);
  const quote = text.charCodeAt(open);
  if (!isQuote(quote)) return null;
  return { from: open + 1, to: endOfQuoted(text, open + 1, quote, open - at) };
}

/** Index of the quote that ends the text from `from`, before its backslashes. Without one: the end of the text, or of the line if `oneLine`. */
export function endOfQuoted(
  text: string,
  from: number,
  quote: number,
  depth: number,
  oneLine = false,
): number {
  let backslashes = 0;
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (oneLine && (code === 10 || code === 13)) return at;
    if (code === BACKSLASH) backslashes++;
    else {
      if (code === quote && (depth === 0 ? backslashes % 2 === 0 : backslashes <= depth)) {
        return depth === 0 ? at : at - backslashes;
      }
      backslashes = 0;
    }
  }
  return text.length;
}

/** Index after the closing quote and its backslashes. */
export function behindQuote(text: string, place: SecretPlace): number {
  const quote = skipBackslashes(text, place.to);
  return isQuote(text.charCodeAt(quote)) ? quote + 1 : place.to;
}

const NEXT_MEMBER = /[,;&]\s{0,4}\\{0,4}["']?[\w.[\]-]{1,64}\\{0,4}["']?\s{0,4}[:=]/y;
const AFTER_CLOSING = /[\s,;&)\]}>]|$/y;

/**
 * A value without quotes: a word. A comma, semicolon or ampersand ends it only before a blank, the end, or a further `name=`. A closing quote
 * or bracket ends it only before what may follow one. Elsewhere each may be part of a password.
 */
export function bareAt(text: string, at: number): SecretPlace {
  let end = at;
  for (; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code <= 32 || code === 0xa0 || code === 0x2028 || code === 0x2029) break;
    if (code >= 48 && code !== 59 && code !== 93 && code !== 125 && code !== BACKSLASH) continue;
    if (code === 44 || code === 59 || code === 38) {
      // , ; &
      if (end + 1 >= text.length || text.charCodeAt(end + 1) <= 32) break;
      NEXT_MEMBER.lastIndex = end;
      if (NEXT_MEMBER.test(text)) break;
    } else if (isQuote(code) || code === 41 || code === 93 || code === 125) {
      AFTER_CLOSING.lastIndex = end + 1;
      if (AFTER_CLOSING.test(text)) break;
    } else if (code === BACKSLASH) {
      const behind = skipBackslashes(text, end);
      AFTER_CLOSING.lastIndex = behind + 1;
      if (isQuote(text.charCodeAt(behind)) && AFTER_CLOSING.test(text)) break;
      end = behind - 1;
    }
  }
  return { from: at, to: end };
}

/** A list or object that was cut off or is not JSON: all the rest. */
export function secretValueAt(text: string, at: number): SecretPlace & { quoted: boolean } {
  const quoted = quotedAt(text, at);
  if (quoted !== null) return { ...quoted, quoted: true };
  const code = text.charCodeAt(at);
  if (code === 123 || code === 91) return { from: at, to: text.length, quoted: false };
  return { ...bareAt(text, at), quoted: false };
}

/** The end of the line. */
export function endOfLine(text: string, at: number): number {
  for (let end = at; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === 10 || code === 13) return end;
  }
  return text.length;
}

/** True, false, null, none, 0, 1 and the empty text reveal nothing. */
export function saysNothing(text: string): boolean {
  return text.length <= 5 && /^(?:true|false|null|none|[01])?$/i.test(text);
}

/** The run of letters, digits, `_`, `.` and `-` around a position, not before `floor`. Characters outside ASCII count too, except blanks and signs. */
export function wordAt(text: string, at: number, floor: number): SecretPlace {
  let from = at;
  while (from > floor && isNamed(text.charCodeAt(from - 1))) from--;
  let to = at;
  while (to < text.length && isNamed(text.charCodeAt(to))) to++;
  // In a text with escaped newlines, `\n` is not part of the name.
  if (from > 0 && from < at && text.charCodeAt(from - 1) === BACKSLASH && /[nrt]/.test(text[from] ?? ''))
    from++;
  return { from, to };
}

function isNamed(code: number): boolean {
  if (code < 0x80) {
    return (
      (code >= 97 && code <= 122) ||
      (code >= 65 && code <= 90) ||
      (code >= 48 && code <= 57) ||
      code === 95 ||
      code === 45 ||
      code === 46
    );
  }
  return (
    code !== 0xa0 && code !== 0xff1a && code !== 0xff1d && code !== 0x3000 && (code < 0x2000 || code > 0x206f)
  );
}

/** Index after the end of a name: after a quote, which may be escaped, and a bracket (`user[password]`). */
export function behindClosing(text: string, at: number): number {
  const quote = skipBackslashes(text, at);
  let end = isQuote(text.charCodeAt(quote)) ? quote + 1 : at;
  if (end === at && /[”’»]/.test(text[at] ?? '')) end++;
  if (text.charCodeAt(end) === 93) end++;
  if (text.startsWith('[]', end)) end += 2;
  return end;
}

/** Index after `:`, `=`, `:=`, `==`, `=>`, `!=`, `=~`, `~` and the like, with blanks around; -1 if there is none. */
export function behindOperator(text: string, at: number): number {
  let end = skipBlanks(text, at);
  const first = text[end];
  const second = text[end + 1];
  if (first === ':' || first === '：' || first === '＝') end += second === '=' ? 2 : 1;
  else if (first === '=') {
    end += second === '=' || second === '>' || second === '~' ? 2 : 1;
    if (text[end] === '=') end++;
  } else if (first === '!' && (second === '=' || second === '~')) {
    end += 2;
    if (text[end] === '*' || text[end] === '=') end++;
  } else if (first === '+' || first === '?' || first === '.') {
    if (second !== '=') return -1;
    end += 2;
  } else return -1;
  return skipBlanks(text, end);
}

/** How many backslashes precede the quote before this position; -1 if there is no quote. */
export function depthBefore(text: string, at: number): number {
  if (!isQuote(text.charCodeAt(at - 1))) return -1;
  let from = at - 1;
  while (from > 0 && at - from <= 16 && text.charCodeAt(from - 1) === BACKSLASH) from--;
  return at - 1 - from;
}

/** Where the run of matching characters before a position begins. At most the given number of characters is examined. */
export function startBefore(text: string, at: number, kind: RegExp, most: number): number {
  let from = at;
  while (from > 0 && at - from < most && kind.test(text[from - 1] ?? '')) from--;
  return from;
}
