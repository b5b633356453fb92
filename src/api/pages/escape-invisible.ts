import { marked } from '../../audit/unsafe-characters.js';
import { groupedDigits } from '../../grouped-digits.js';

/**
 * Untrusted text on one line, with every invisible character made visible; cut off after `limit` UTF-16 units. If two results look the
 * same, they are the same.
 */
export function markInvisible(text: string, limit = 200): string {
  const shown = marked(text.length > limit ? text.slice(0, limit) : text);
  return text.length > limit ? `${shown}… (${groupedDigits(text.length - limit)} more)` : shown;
}
