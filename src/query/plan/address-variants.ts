import { isIPv4 } from 'node:net';
import type { Database } from 'better-sqlite3';
import { clientAddress, NetworkSet, parseAddress } from '../../audit/address.js';
import type { ColumnKey } from '../../source/table-schema.js';
import type { QueryTable } from './table-schema.js';

/** A value of a column or a parameter. */
export type SqlParam = null | string | number | bigint | Buffer;

/** A value of any type as text, as in the event (source/row-to-event.ts). */
export function textOfParam(value: SqlParam): string | null {
  if (value === null || typeof value === 'string') return value;
  if (!Buffer.isBuffer(value)) return String(value);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value);
  } catch {
    return `0x${value.toString('hex')}`;
  }
}

/** The values of all types whose text is this one. SQLite keeps the types apart if the column has no affinity. */
export function variantsOf(text: string): SqlParam[] {
  const number = Number(text);
  const isNumber = text !== '' && Number.isFinite(number) && String(number) === text;
  const integer = isNumber && Number.isInteger(number) ? [BigInt(text.includes('e') ? number : text)] : [];
  return [text, ...(isNumber && integer.length === 0 ? [number] : integer), Buffer.from(text)];
}

/** Whether different texts are the same number to SQLite as this one (`042`, `4.2e1`). Then each row has to be checked. */
export function isAmbiguous(text: string): boolean {
  return text.trim() !== '' && Number.isFinite(Number(text)) && !/^-?(?:0|[1-9]\d{0,14})$/.test(text);
}

/**
 * The distinct values of an indexed column without NULL. Each takes one search in the index instead of a scan of it.
 * @returns null if there are more than `most`
 */
export function distinctValues(
  db: Database,
  table: QueryTable,
  key: ColumnKey,
  most: number,
  range: { readonly from: SqlParam; readonly below: SqlParam } | null = null,
): SqlParam[] | null {
  const by = table.indexed.get(key);
  if (by === undefined) return null;
  const column = table.columns[key];
  const end = range === null ? '' : `AND ${column} < @below`;
  const next = (operator: string) =>
    db
      .prepare(
        `SELECT ${column} FROM ${by} WHERE ${column} ${operator} @after ${end} ORDER BY ${column} LIMIT 1`,
      )
      .pluck()
      .safeIntegers();
  const first = db
    .prepare(`SELECT ${column} FROM ${by} WHERE ${column} IS NOT NULL ORDER BY ${column} LIMIT 1`)
    .pluck()
    .safeIntegers();
  const below = range === null ? {} : { below: range.below };
  const values: SqlParam[] = [];
  let value = (range === null ? first.get() : next('>=').get({ after: range.from, ...below })) as
    | SqlParam
    | undefined;
  const following = next('>');
  while (value !== undefined && value !== null) {
    if (values.length >= most) return null;
    values.push(value);
    value = following.get({ after: value, ...below }) as SqlParam | undefined;
  }
  return values;
}

/**
 * The spellings in the column of an address, or of the addresses of a network.
 * @returns null if there are too many to check
 */
export function addressSpellings(
  db: Database,
  table: QueryTable,
  ip: string,
  most: number,
  trusted: NetworkSet | null = null,
): SqlParam[] | null {
  if (trusted !== null) return listSpellings(db, table, ip, most, trusted);
  const texts = addressRanges(ip);
  if (texts === null) return null;
  const network = new NetworkSet([ip]);
  const found = new Map<string, SqlParam>(); // ranges may overlap
  for (const range of hasBlobs(db, table) ? texts.flatMap(inBothTypes) : texts) {
    const values = distinctValues(db, table, 'ip_address', most - found.size, range);
    if (values === null) return null;
    for (const value of values) {
      const text = textOfParam(value);
      const address = parseAddress(text);
      if (address !== null && network.contains(address)) found.set(`${typeof value} ${text}`, value);
    }
  }
  return [...found.values()];
}

/** The same for a column that may have lists of addresses. A list begins with text that a client wrote, so every distinct value is checked. */
function listSpellings(
  db: Database,
  table: QueryTable,
  ip: string,
  most: number,
  trusted: NetworkSet,
): SqlParam[] | null {
  const network = new NetworkSet([ip]);
  const isMatch = (value: SqlParam) => {
    const address = clientAddress(textOfParam(value), trusted);
    return address !== null && network.contains(address);
  };
  return distinctValues(db, table, 'ip_address', most)?.filter(isMatch) ?? null;
}

/** Whether the column has BLOBs, which sort after all text. */
function hasBlobs(db: Database, table: QueryTable): boolean {
  const by = table.indexed.get('ip_address');
  if (by === undefined) return false;
  return (
    db.prepare(`SELECT 1 FROM ${by} WHERE ${table.columns.ip_address} >= x'' LIMIT 1`).get() !== undefined
  );
}

function inBothTypes({ from, below }: AddressRange): Array<{ from: SqlParam; below: SqlParam }> {
  return [
    { from, below },
    { from: Buffer.from(from), below: Buffer.from(below) },
  ];
}

/** A range of text, in the order of its bytes. */
interface AddressRange {
  readonly from: string;
  readonly below: string;
}

/** With more ranges, checking each address is cheaper. */
const MOST_RANGES = 256;

/**
 * Ranges of text that contain all spellings of an address or a network: IPv4 alone, with a port, or mapped into IPv6 (`::ffff:…`, brackets,
 * leading zeros); IPv6 in upper or lower case, compressed or not, with brackets, port and zone.
 */
export function addressRanges(ip: string): AddressRange[] | null {
  const [text = '', bits] = ip.split('/');
  const address = parseAddress(text);
  if (address === null) return null;
  if (isIPv4(address)) {
    const mapped = text.includes(':') ? 96 : 0;
    const plain = ipv4Prefixes(address, bits === undefined ? 32 : Number(bits) - mapped);
    if (plain === null) return null;
    // A mapped address begins with `:`, `0` or `[`. Of IPv4 addresses, only those in 0.0.0.0/8 do.
    return [...plain, ...[':', '0', '['].map((first) => startingWith(first))];
  }
  const prefixes = ipv6Prefixes(address, bits === undefined ? 128 : Number(bits));
  return prefixes?.map((prefix) => startingWith(prefix)) ?? null;
}

function startingWith(prefix: string): AddressRange {
  return {
    from: prefix,
    below: prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1),
  };
}

function ipv4Prefixes(address: string, bits: number): AddressRange[] | null {
  const octets = address.split('.').map(Number);
  if (bits === 32) return [{ from: address, below: `${address};` }]; // `:`, which precedes a port, sorts before `;`
  const whole = Math.floor(bits / 8);
  const spread = 2 ** (8 - (bits % 8));
  const first = (octets[whole] ?? 0) & ~(spread - 1);
  const head = octets
    .slice(0, whole)
    .map((octet) => `${octet}.`)
    .join('');
  if (bits % 8 === 0) return [head === '' ? { from: '0', below: ':' } : startingWith(head)];
  return Array.from({ length: spread }, (_, at) => {
    const octet = `${head}${first + at}`;
    return whole === 3 ? { from: octet, below: `${octet};` } : startingWith(`${octet}.`);
  });
}

/** The prefixes that a spelling can have: of as many whole groups as give few enough prefixes. */
function ipv6Prefixes(address: string, bits: number): string[] | null {
  const [left = ''] = address.split('::');
  const groups = left === '' ? [] : left.split(':').map((group) => Number.parseInt(group, 16));
  const certain = Math.min(Math.floor(bits / 16), address.includes('::') ? groups.length : 8);
  // A leading zero group can be written as `::` or `0:`, which leaves no prefix to search for.
  const zero = groups.slice(0, certain).indexOf(0);
  const used = groups.slice(0, zero === -1 ? certain : zero);
  if (used.length === 0) return bits < 16 ? null : [':', '0', '[:', '[0'];
  let prefixes = [''];
  for (const group of used) {
    const longer = prefixes.flatMap((prefix) =>
      spellingsOfGroup(group).map((spelling) => `${prefix}${spelling}:`),
    );
    if (longer.length > MOST_RANGES / 2) break;
    prefixes = longer;
  }
  return prefixes[0] === '' ? null : prefixes.flatMap((prefix) => [prefix, `[${prefix}`]);
}

function spellingsOfGroup(group: number): string[] {
  const plain = group.toString(16);
  const padded = Array.from({ length: 5 - plain.length }, (_, zeros) => '0'.repeat(zeros) + plain);
  return padded.flatMap((text) => cased(text));
}

/** Every combination of upper and lower case: at most 16. */
function cased(text: string): string[] {
  return [...text].reduce<string[]>(
    (heads, letter) =>
      [...new Set([letter, letter.toUpperCase()])].flatMap((form) => heads.map((head) => head + form)),
    [''],
  );
}
