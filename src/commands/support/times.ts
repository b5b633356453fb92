import type { Command } from 'commander';

/** Writes a time that is given in milliseconds since the epoch. */
export type Times = (milliseconds: number) => string;

/**
 * The one rule for times that commands print: who sits at a terminal reads the local time, with its offset; files, pipes and JSON get
 * UTC. Both are ISO 8601 in one word, as --from and --to take it.
 */
export function timesFor(stream: { readonly isTTY?: boolean }, { utc = false }: UtcOption = {}): Times {
  return stream.isTTY === true && !utc ? localTimeText : utcTime;
}

export interface UtcOption {
  readonly utc?: boolean;
}

export function withUtc(command: Command): Command {
  return command.option('--utc', 'print times in UTC, also on a terminal');
}

/** `2026-11-22T20:21:00Z` */
export function utcTime(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** `2026-11-22T21:21:00+01:00`, in the time zone of this process. */
function localTimeText(milliseconds: number): string {
  const minutes = -new Date(milliseconds).getTimezoneOffset();
  const shown = new Date(milliseconds + minutes * 60_000).toISOString().slice(0, 19);
  const two = (number: number) => String(Math.floor(Math.abs(number))).padStart(2, '0');
  return `${shown}${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/** A time that somebody else wrote as ISO 8601; what can't be read stays as it is, null is `otherwise`. */
export function shownTime(text: string | null, times: Times, otherwise = '-'): string {
  const milliseconds = text === null ? Number.NaN : Date.parse(text);
  return Number.isNaN(milliseconds) ? (text ?? otherwise) : times(milliseconds);
}
