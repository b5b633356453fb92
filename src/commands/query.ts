import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { AuditdError } from '../errors.js';
import type { Entry } from '../query/entry.js';
import type { PageResult } from '../query/service.js';
import { type FilterOptions, filterOf, numberOf, withFilter } from './filter-options.js';
import { withQueries } from './queries.js';
import { aligned, count, createPaint, type Paint, visibleUpTo, wantsColour } from './terminal.js';

interface Options extends FilterOptions {
  readonly page?: string;
  readonly limit?: string;
  readonly cursor?: string;
  readonly count?: boolean;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly ndjson?: boolean;
}

export function register(program: Command): void {
  withFilter(program.command('query').description('look up entries, 50 a page, the newest first'))
    .option('--page <number>', 'which page', '1')
    .option('--limit <number>', 'entries a page, at most 1000', '50')
    .option('--cursor <text>', 'the page behind another one, by what that one names as next')
    .option('--count', 'count all of them, beyond 10,000 too')
    .option('--json', 'as JSON, with total and next')
    .option('--ndjson', 'as a line of JSON each')
    .option('--csv', 'as CSV, safe to open in a spreadsheet')
    .addHelpText(
      'after',
      `
Entries stand in the order in which they were written. Times are UTC; --from counts, --to no longer does.

Examples:
  $ postern-auditd query --action auth.login_failure --from -7d
  $ postern-auditd query --user admin@example.net --resource-type proxy_host --page 2
  $ postern-auditd query --ip 203.0.113.0/24 --json | jq '.entries[].user.name'`,
    )
    .action(async (options: Options) => {
      const form = formOf(options);
      const filter = await filterOf(options, Date.now());
      const page = numberOf('page', options.page, 1);
      const limit = numberOf('limit', options.limit, 50);
      if (options.cursor !== undefined && page !== 1)
        throw new AuditdError('USAGE', 'page: a cursor says where to go on. Give one of --page and --cursor');
      await withQueries(options.config, async (queries) => {
        const result = await queries.page(filter, {
          page,
          limit,
          cursor: options.cursor ?? null,
          count: options.count === true ? 'all' : 'some',
        });
        process.stdout.write(await render(result, form));
        if (result.incomplete !== undefined) process.stderr.write(`INCOMPLETE: ${result.incomplete}\n`);
      });
    });
}

type Form = 'table' | 'json' | 'ndjson' | 'csv';

function formOf({ json, ndjson, csv }: Options): Form {
  const asked: Form[] = [];
  if (json === true) asked.push('json');
  if (ndjson === true) asked.push('ndjson');
  if (csv === true) asked.push('csv');
  if (asked.length > 1) throw new AuditdError('USAGE', `Give one of --${asked.join(' and --')}, not both`);
  return asked[0] ?? 'table';
}

async function render(result: PageResult, form: Form): Promise<string> {
  if (form === 'json') return `${toSafeJson(result, 2)}\n`;
  const { trailer } = await import('../query/trailer.js');
  const end = form === 'table' || result.incomplete === undefined ? '' : trailer(form, result.incomplete);
  if (form === 'ndjson') return result.entries.map((entry) => `${toSafeJson(entry)}\n`).join('') + end;
  if (form === 'csv') {
    const { CSV_HEADER, csvEntry } = await import('../query/csv.js');
    return CSV_HEADER + result.entries.map((entry) => csvEntry(entry)).join('') + end;
  }
  const width = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  return renderTable(result, width, createPaint(wantsColour(process.stdout, process.env)));
}

const LEAST_WIDTH = 60;
const HEADINGS = ['ID', 'TIME', 'ACTION', 'USER', 'ADDRESS', 'RESOURCE', 'DETAILS'] as const;
/** What each column may take; details get what is left. */
const LONGEST = [20, 19, 26, 24, 39, 26] as const;

/** The page for people, no line wider than the terminal. */
export function renderTable(result: PageResult, width: number, paint: Paint): string {
  if (result.entries.length === 0)
    return `No entries${result.page === 1 || result.page === null ? '' : ' on this page'}.\n`;
  const rows = result.entries.map((entry) =>
    cellsOf(entry).map((text, at) => visibleUpTo(text, LONGEST[at] ?? 200)),
  );
  const lines = aligned([HEADINGS.map(String), ...rows]);
  const most = Math.max(LEAST_WIDTH, width);
  const shown = lines.map((line, at) => {
    const letters = [...line];
    const text = letters.length <= most ? line : `${letters.slice(0, most - 1).join('')}…`;
    if (at === 0) return paint.bold(text);
    return result.entries[at - 1]?.outcome === 'failure' ? paint.red(text) : text;
  });
  return `${shown.join('\n')}\n${paint.dim(footer(result))}\n`;
}

function cellsOf(entry: Entry): string[] {
  const { user, created_at: created } = entry;
  return [
    entry.id,
    created === null ? '-' : created.replace(/^(.{10})T(.{8})\.\d{3}Z$/, '$1 $2'),
    entry.action,
    user.email ?? user.name ?? user.id ?? '-',
    entry.ip_address ?? '-',
    entry.resource_id === null
      ? (entry.resource_type ?? '-')
      : `${entry.resource_type ?? ''} ${entry.resource_id}`,
    entry.details === null ? '' : JSON.stringify(entry.details),
  ];
}

function footer({ entries, page, limit, total, total_exact: exact, next }: PageResult): string {
  const all = total === null ? '' : `of ${exact ? '' : 'more than '}${count(total, 'entry', 'entries')}`;
  const place =
    page === null
      ? `${entries.length}`
      : `${(page - 1) * limit + 1} to ${(page - 1) * limit + entries.length}`;
  const more = next === null ? '' : page === null ? `; next: --cursor ${next}` : `; next: --page ${page + 1}`;
  return `${place} ${all}${more}`;
}
