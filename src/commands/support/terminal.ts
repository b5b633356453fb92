import { stripVTControlCharacters } from 'node:util';
import { escapeUnsafe } from '../../audit/unsafe-characters.js';
import { groupedDigits } from '../../grouped-digits.js';

export { escapeUnsafe, visibleLines } from '../../audit/unsafe-characters.js';

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
  const shown = [...escapeUnsafe(text.slice(0, 4 * longest))];
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

/** What has no end: a pipe is as wide as whatever is written to it. */
export function widthOf(stream: { readonly isTTY?: boolean; readonly columns?: number }): number {
  return stream.isTTY === true ? stream.columns || 80 : Number.POSITIVE_INFINITY;
}

/** Parts of a line, two spaces between, on as many lines as the width takes; a part that is too long for one is cut into several. */
export function folded(parts: readonly string[], width: number, indent = '  '): string[] {
  const lines: string[] = [];
  let line = '';
  const most = Math.max(20, width);
  const length = (text: string) => [...stripVTControlCharacters(text)].length;
  for (const part of parts.filter((each) => each !== '')) {
    if (line !== '' && length(line) + 2 + length(part) <= most) {
      line += `  ${part}`;
      continue;
    }
    if (line !== '') lines.push(line);
    const begin = lines.length === 0 ? '' : indent;
    let rest = [...part];
    for (
      let room = most - begin.length;
      rest.length > room && length(part) > room;
      room = most - indent.length
    ) {
      const blank = rest.lastIndexOf(' ', room);
      const end = blank > room / 2 ? blank : room;
      lines.push(`${lines.length === 0 ? '' : indent}${rest.slice(0, end).join('')}`);
      rest = rest.slice(rest[end] === ' ' ? end + 1 : end);
    }
    line = `${lines.length === 0 ? '' : indent}${rest.join('')}`;
  }
  return line === '' ? lines : [...lines, line];
}

/** `512 B`, `58.6 KB`, `1.9 GB`; 1 KB is 1,024 bytes. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let at = 0;
  for (; value >= 1_023.95 && at < units.length - 1; at++) value /= 1_024;
  return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`;
}

/** A span of time as people say it: `12 s`, `5 min`, `3 h`, `2 days`. */
export function formatAge(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** A number with its noun: `1 event`, `2 events`. */
export function formatCount(number: number, noun: string, plural = `${noun}s`): string {
  return `${groupedDigits(number)} ${number === 1 ? noun : plural}`;
}
