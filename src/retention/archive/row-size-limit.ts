/**
 * Octets of a row that can be archived. What JSON makes of them, six times as much at the worst, has to be one text, and V8 has none beyond
 * 512 MiB. A larger row can't be read at all, or not be written down: it stays in the table.
 */
export const LARGEST_ROW = 80 * 2 ** 20;
