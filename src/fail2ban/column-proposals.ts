import type { Database } from 'better-sqlite3';
import { parseAddress } from '../audit/address.js';
import { parseTime } from '../audit/time.js';
import type { SourceConfig } from '../config/schema.js';
import { quoteIdentifier } from '../source/table-schema.js';
import { isAddressList, type Proposal } from './silence.js';

const NEWEST = 200;
const LONGEST = 120;
const MOST_COLUMNS = 100;

const ADDRESS_NAME = /(^|_)(ip|ips|ipaddr|ipaddress|addr|address|remote|client_ip|peer|source_ip|src)(_|$)/i;
const TIME_NAME = /(^|_)(time|timestamp|ts|date|datetime|at|on|created|when)(_|$)/i;

interface Column {
  readonly name: string;
}

/**
 * Proposes columns that no key of `source.columns` names and that look like an address or a time. Their newest values decide, or their
 * name where they have no values. Columns with addresses in their values come first.
 */
export function proposeColumns(db: Database, { table, columns }: SourceConfig): Proposal[] {
  const all = db.prepare('SELECT name FROM pragma_table_xinfo(?)').all(table) as Column[];
  const mapped = new Set(Object.values(columns).map((name) => name?.toLowerCase()));
  const rest = all.map(({ name }) => name).filter((name) => !mapped.has(name.toLowerCase()));
  if (rest.length === 0) return [];
  const shown = rest.slice(0, MOST_COLUMNS);
  const list = shown
    .map((name) => `substr(CAST(${quoteIdentifier(name)} AS TEXT), 1, ${LONGEST})`)
    .join(', ');
  const rows = db
    .prepare(
      `SELECT ${list} FROM ${quoteIdentifier(table)} ORDER BY ${quoteIdentifier(columns.id)} DESC LIMIT ${NEWEST}`,
    )
    .raw()
    .all() as Array<Array<string | null>>;
  const found = shown.flatMap((column, at): Array<Proposal & { readonly isSeen: boolean }> => {
    const values = rows
      .map((row) => row[at] ?? null)
      .filter((value) => value !== null && value !== '') as string[];
    const example = values[0] ?? '';
    const most = (test: (value: string) => boolean) =>
      values.length > 0 && values.filter(test).length * 2 > values.length;
    if (most((value) => parseAddress(value) !== null || isAddressList(value)))
      return [{ key: 'ip_address', column, example, isSeen: true }];
    // A plain number counts as a time only in a column with the name of a time: most numbers can be read as a time.
    if (most((value) => parseTime(value) !== null) && (TIME_NAME.test(column) || /\D/.test(example)))
      return [{ key: 'created_at', column, example, isSeen: true }];
    if (values.length > 0) return [];
    if (ADDRESS_NAME.test(column)) return [{ key: 'ip_address', column, example, isSeen: false }];
    return TIME_NAME.test(column) ? [{ key: 'created_at', column, example, isSeen: false }] : [];
  });
  return found
    .toSorted((a, b) => Number(b.isSeen) - Number(a.isSeen))
    .map(({ key, column, example }) => ({ key, column, example }));
}
