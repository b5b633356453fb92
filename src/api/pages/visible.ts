/**
 * What a browser would act on instead of showing it: control characters, Unicode's line ends, marks that turn the direction of writing,
 * characters without width, tags, halves of pairs. Two names that look the same are the same afterwards.
 */
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]|\p{Surrogate}/gu;

const NAMES: Readonly<Record<string, string>> = { '\n': '⏎', '\r': '␍', '\t': '⇥' };

/** Text of a stranger on one line, every character in it to be seen; cut off after `limit` UTF-16 units. */
export function visible(text: string, limit = 200): string {
  const shown = (text.length > limit ? text.slice(0, limit) : text).replace(
    HIDDEN,
    (character) =>
      NAMES[character] ??
      `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  );
  return text.length > limit ? `${shown}… (${(text.length - limit).toLocaleString('en')} more)` : shown;
}
