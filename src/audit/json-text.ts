// Properties of a JSON text other than its value. Each text is read once from the left, without a regular expression that could restart
// at every quote: clients write these texts.

const QUOTE = 34;
const BACKSLASH = 92;
const OPEN = [91, 123];
const CLOSE = [93, 125];

/** Whole numbers of 16 and more digits, and exponents of 3 and more, that a double may not hold. */
const BIG_NUMBER = /[:,[]\s*-?(?:\d{16}|\d+(?:\.\d+)?[eE][+-]?\d{3})/;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** Behind the closing quote of the string that begins here; the end of the text where there is none. */
function endOfString(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) return at + 1;
  }
  return json.length;
}

/** Is a JSON text nested more deeply than this? Only one with that many brackets is read character by character. */
export function isNestedDeeper(json: string, deepest: number): boolean {
  let brackets = 0;
  for (const bracket of ['{', '[']) {
    for (let at = json.indexOf(bracket); at !== -1; at = json.indexOf(bracket, at + 1)) {
      if (++brackets > deepest) return depthOf(json, deepest) > deepest;
    }
  }
  return false;
}

/** Of valid JSON, as far as it matters. */
function depthOf(json: string, deepest: number): number {
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) at = endOfString(json, at) - 1;
    else if (CLOSE.includes(code)) depth--;
    else if (OPEN.includes(code) && ++depth > deepest) return depth;
  }
  return 0;
}

/** The JSON text with numbers that a double can't hold (`9223372036854775807`, `1e400`) as text with all their digits. */
export function withExactNumbers(json: string): string {
  if (!BIG_NUMBER.test(json)) return json;
  let exact = '';
  let done = 0;
  for (let at = 0; at < json.length; ) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(json, at);
      continue;
    }
    NUMBER.lastIndex = at;
    const token = beginsNumber(code) ? NUMBER.exec(json)?.[0] : undefined;
    if (token === undefined) {
      at++;
      continue;
    }
    if (!isHeld(token)) {
      exact += `${json.slice(done, at)}"${token}"`;
      done = at + token.length;
    }
    at += token.length;
  }
  return exact + json.slice(done);
}

function beginsNumber(code: number): boolean {
  return code === 45 || (code >= 48 && code <= 57);
}

/** Texts of numbers with more digits are not compared: parsing them takes more than linear time. */
const MOST_DIGITS = 400;

function isHeld(token: string): boolean {
  const number = Number(token);
  if (!Number.isFinite(number) || (number === 0 && /^-?[0.]*[1-9]/.test(token))) return false;
  if (token.length < 16 || !/^-?\d+$/.test(token) || String(number) === token) return true;
  return token.length < MOST_DIGITS && BigInt(token) === BigInt(number);
}
