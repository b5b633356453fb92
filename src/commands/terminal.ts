import { stripVTControlCharacters } from 'node:util';
import { visible } from '../audit/unsafe-characters.js';

export { toSafeJson, visible, visibleLines } from '../audit/unsafe-characters.js';

/** Marks text for a terminal; every function returns its text as it is where there is no colour. */
export interface Paint {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  green(text: string): string;
  yellow(text: string): string;
  cyan(text: string): string;
}

/** Colour on a terminal, unless NO_COLOR (no-color.org) or a dumb terminal asks for none. */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
}

export function createPaint(colour: boolean): Paint {
  const mark = (on: number, off: number) => (text: string) =>
    colour && text !== '' ? `\u001b[${on}m${text}\u001b[${off}m` : text;
  return {
    bold: mark(1, 22),
    dim: mark(2, 22),
    red: mark(31, 39),
    green: mark(32, 39),
    yellow: mark(33, 39),
    cyan: mark(36, 39),
  };
}

/** Text of strangers as a terminal may show it, and no longer than so many characters. */
export function visibleUpTo(text: string, longest: number): string {
  // A name of 1 MB is not walked through as a whole.
  const shown = [...visible(text.slice(0, 4 * longest))];
  return shown.length <= longest ? shown.join('') : `${shown.slice(0, longest - 1).join('')}…`;
}

/** Rows as lines with aligned columns, two spaces between, none behind the last. */
export function aligned(rows: ReadonlyArray<readonly string[]>, indent = ''): string[] {
  const width = (text: string) => [...stripVTControlCharacters(text)].length;
  const widths: number[] = [];
  for (const row of rows) {
    for (const [at, cell] of row.slice(0, -1).entries()) widths[at] = Math.max(widths[at] ?? 0, width(cell));
  }
  return rows.map((row) =>
    `${indent}${row
      .map((cell, at) => (at < row.length - 1 ? cell + ' '.repeat((widths[at] ?? 0) - width(cell)) : cell))
      .join('  ')}`.trimEnd(),
  );
}

/** A span of time as people say it: `12 s`, `5 min`, `3 h`, `2 days`. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** A number with its noun: `1 event`, `2 events`. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number.toLocaleString('en')} ${number === 1 ? noun : plural}`;
}

/** `2026-11-22 20:21:00`, in the terminal's time zone or in UTC. */
export function timestamp(milliseconds: number, utc: boolean): string {
  const time = new Date(milliseconds);
  const shifted = utc ? time : new Date(milliseconds - time.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19).replace('T', ' ');
}
