import { marked } from '../../audit/unsafe-characters.js';

/**
 * Text of a stranger on one line, every character in it to be seen; cut off after `limit` UTF-16 units. Two names that look the same
 * are the same afterwards.
 */
export function markInvisible(text: string, limit = 200): string {
  const shown = marked(text.length > limit ? text.slice(0, limit) : text);
  return text.length > limit ? `${shown}… (${(text.length - limit).toLocaleString('en')} more)` : shown;
}
