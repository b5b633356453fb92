import { z } from 'zod';

const MILLISECONDS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000 };
const BYTES = { B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Milliseconds of `500ms`, `1s`, `10m`, `2h`, `90d`, `1w`, `1y` (365 days). */
export const duration = z
  .string()
  .regex(/^\d+(ms|s|m|h|d|w|y)$/, 'a duration such as 500ms, 1s, 10m, 2h, 90d or 1y')
  .transform((text) => {
    const unit = text.replace(/^\d+/, '') as keyof typeof MILLISECONDS;
    return Number.parseInt(text, 10) * MILLISECONDS[unit];
  })
  .describe('duration: 500ms, 1s, 10m, 2h, 90d, 1y');

/** Bytes of `512B`, `64K`, `100M`, `2G`, `1T` (powers of 1024). */
export const size = z
  .string()
  .regex(/^\d+[BKMGT]$/, 'a size such as 64K, 100M or 2G')
  .transform((text) => Number.parseInt(text, 10) * BYTES[text.slice(-1) as keyof typeof BYTES])
  .describe('size: 64K, 100M, 2G');

/** File mode as octal text, `"0640"`. */
export const fileMode = z
  .string()
  .regex(/^0?[0-7]{3}$/, 'a file mode in octal and in quotes, such as "0640"')
  .transform((text) => Number.parseInt(text, 8));
