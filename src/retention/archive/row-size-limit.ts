/**
 * The largest row that can be archived, in octets. As JSON, a row takes up to six times as much and must be one string, which V8 limits to
 * 512 MiB. A larger row can't be read or written: it stays in the table.
 */
export const LARGEST_ROW = 80 * 2 ** 20;
