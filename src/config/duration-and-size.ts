import { isAbsolute } from 'node:path';
import { z } from 'zod';

const MILLISECONDS = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};
const BYTES = { B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

const LONGEST = 1_000 * MILLISECONDS.y;

const DURATION = 'a duration such as 500ms, 1s, 10m, 2h, 90d or 1y';
const SIZE = 'a size such as 64K, 100M or 2G';
const MODE = 'a file mode in octal and in quotes, such as "0640"';
const PATH = 'an absolute path (a service has no current directory)';

/** For `refine`: the error names what is allowed. It follows what was found (validation-messages.ts). */
export function only(allowed: string): { error: string; params: { allowed: true } } {
  return { error: allowed, params: { allowed: true } };
}

function millisecondsOf(text: string): number {
  return Number.parseInt(text, 10) * MILLISECONDS[text.replace(/^\d+/, '') as keyof typeof MILLISECONDS];
}

/** Milliseconds of `500ms`, `1s`, `10m`, `2h`, `90d`, `1w`, `1y` (365 days). */
export const durationSchema = z
  .string({ error: DURATION })
  .regex(/^\d+(ms|s|m|h|d|w|y)$/, DURATION)
  .transform(millisecondsOf)
  .refine((milliseconds) => milliseconds <= LONGEST, only('a duration of at most 1000y'))
  .meta({ unit: 'duration' });

const AGE = `${DURATION}, or forever`;

/** Milliseconds of a duration above 0; null for `forever`. */
export const ageSchema = z
  .string({ error: AGE })
  .regex(/^(forever|0*[1-9]\d*(ms|s|m|h|d|w|y))$/, AGE)
  .transform((text) => (text === 'forever' ? null : millisecondsOf(text)))
  .refine(
    (milliseconds) => milliseconds === null || milliseconds <= LONGEST,
    only('a duration of at most 1000y, or forever'),
  )
  .meta({ unit: 'age' });

/** A duration within bounds, which are given as one writes them. */
export function durationBetween(least: string, most: string) {
  const words = `a duration from ${least} to ${most}`;
  const [from, to] = [durationSchema.parse(least), durationSchema.parse(most)];
  return durationSchema.refine((milliseconds) => milliseconds >= from && milliseconds <= to, only(words));
}

/** Bytes of `512B`, `64K`, `100M`, `2G`, `1T` (powers of 1024). */
export const sizeSchema = z
  .string({ error: SIZE })
  .regex(/^\d+[BKMGT]$/, SIZE)
  .transform((text) => Number.parseInt(text, 10) * BYTES[text.slice(-1) as keyof typeof BYTES])
  .refine((bytes) => bytes <= 1_024 * BYTES.T, only('a size of at most 1024T'))
  .meta({ unit: 'size' });

/** File mode as octal text, `"0640"`. Other users must not write: whoever can add a line can ban anybody. */
export const fileMode = z
  .string({ error: MODE })
  .regex(/^0?[0-7]{3}$/, MODE)
  .transform((text) => Number.parseInt(text, 8))
  .refine(
    (mode) => (mode & 0o602) === 0o600,
    only('a mode with which the daemon can read and write, and not every user can write'),
  )
  .meta({ unit: 'mode' });

/** Without control characters, which no message could show. */
export const absolutePath = z
  .string({ error: PATH })
  .refine((path) => isAbsolute(path) && !/[\u0000-\u001f\u007f]/.test(path), only(PATH))
  .meta({ unit: 'path' });

/** As one writes it: `1d`, `90s`, `500ms`; in the largest unit that it is a whole number of, weeks left out. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0s';
  for (const unit of ['y', 'd', 'h', 'm', 's'] as const) {
    if (milliseconds % MILLISECONDS[unit] === 0) return `${milliseconds / MILLISECONDS[unit]}${unit}`;
  }
  return `${milliseconds}ms`;
}

/** As one writes it: `100M`. */
export function formatSize(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K'] as const) {
    if (bytes > 0 && bytes % BYTES[unit] === 0) return `${bytes / BYTES[unit]}${unit}`;
  }
  return `${bytes}B`;
}

/** As one writes it: `0640`. */
export function formatMode(mode: number): string {
  return `0${mode.toString(8).padStart(3, '0')}`;
}
