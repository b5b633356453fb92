import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { AuditdError } from '../errors.js';
import type { Entry } from '../query/entry.js';
import type { PageResult } from '../query/service.js';
import {
  type FilterOptions,
  filterFromOptions,
  numberOf,
  printNote,
  withFilter,
} from './support/filter-options.js';
import {
  aligned,
  createPaint,
  folded,
  formatCount,
  type Paint,
  visibleUpTo,
  wantsColour,
  widthOf,
} from './support/terminal.js';
import { shownTime, type Times, timesFor, type UtcOption, withUtc } from './support/times.js';
import { withQueries } from './support/with-queries.js';

interface Options extends FilterOptions, UtcOption {
  readonly page?: string;
  readonly limit?: string;
  readonly cursor?: string;
  readonly count?: boolean;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly ndjson?: boolean;
}

export function registerQuery(program: Command): void {
  withUtc(withFilter(program.command('query').description('List entries, newest first, 50 per page')))
    .option('--page <number>', 'page number', '1')
    .option('--limit <number>', 'entries per page, at most 1000', '50')
    .option('--cursor <text>', 'page that follows another one: the value of its next')
    .option('--count', 'count all entries, also above 10,000')
    .option('--json', 'print JSON with total and next')
    .option('--ndjson', 'print one line of JSON per entry')
    .option('--csv', 'print CSV that is safe to open in a spreadsheet')
    .addHelpText(
      'after',
      `
Entries are in the order in which they were written. Times without a zone are UTC.

Examples:
  $ postern-auditd query --action auth.login_failure --from -7d
  $ postern-auditd query --user admin@example.net --resource-type proxy_host --page 2
  $ postern-auditd query --ip 203.0.113.0/24 --json | jq '.entries[].user.name'`,
    )
    .action(async (options: Options) => {
      const form = formOf(options);
      const filter = await filterFromOptions(options, Date.now());
      const page = numberOf('page', options.page, 1);
      const limit = numberOf('limit', options.limit, 50);
      if (options.cursor !== undefined && page !== 1)
        throw new AuditdError('USAGE', '--page and --cursor exclude each other', {
          next: 'Give one of them',
        });
      await withQueries(options.config, async (queries) => {
        const result = await queries.page(filter, {
          page,
          limit,
          cursor: options.cursor ?? null,
          count: options.count === true ? 'all' : 'some',
        });
        process.stdout.write(await render(result, form, options));
        if (result.note !== undefined) printNote(result.note);
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
  if (asked.length > 1)
    throw new AuditdError('USAGE', `--${asked.join(' and --')} exclude each other`, {
      next: 'Give one of them',
    });
  return asked[0] ?? 'table';
}

async function render(result: PageResult, form: Form, options: Options): Promise<string> {
  if (form === 'json') return `${toSafeJson(result, 2)}\n`;
  const { trailer } = await import('../query/incomplete-trailer.js');
  const end = form === 'table' || result.incomplete === undefined ? '' : trailer(form, result.incomplete);
  if (form === 'ndjson') return result.entries.map((entry) => `${toSafeJson(entry)}\n`).join('') + end;
  if (form === 'csv') {
    const { CSV_HEADER, csvEntry } = await import('../query/csv.js');
    return CSV_HEADER + result.entries.map((entry) => csvEntry(entry)).join('') + end;
  }
  const paint = createPaint(wantsColour(process.stdout, process.env));
  return renderTable(result, {
    width: widthOf(process.stdout),
    paint,
    times: timesFor(process.stdout, options),
  });
}

const HEADINGS = ['ID', 'TIME', 'ACTION', 'USER', 'ADDRESS', 'RESOURCE', 'DETAILS'] as const;
/** What each column may take; details get what is left. */
const LONGEST = [20, 25, 26, 24, 39, 26, 200] as const;
/** Of the details so much is on the line of the others. */
const LEAST_DETAILS = 24;

export interface TextTableOptions {
  readonly width: number;
  readonly paint: Paint;
  readonly times: Times;
}

/** The page for people, no line wider than the terminal: where the columns don't fit, each entry is folded. */
export function renderTable(result: PageResult, { width, paint, times }: TextTableOptions): string {
  if (result.entries.length === 0)
    return `No entries${result.page === 1 || result.page === null ? '' : ' on this page'}.\n`;
  const rows = result.entries.map((entry) =>
    cellsOf(entry, times).map((text, at) => visibleUpTo(text, LONGEST[at] ?? 200)),
  );
  const lines = aligned([HEADINGS.map(String), ...rows]);
  const details = Math.max(0, ...rows.map((row) => [...(row.at(-1) ?? '')].length));
  const widest = Math.max(...lines.map((line) => [...line].length));
  const isWide = widest - Math.max(0, details - LEAST_DETAILS) <= width;
  const shown = isWide
    ? lines.map((line) => [upTo(line, width)])
    : rows.map((row) => folded(labelled(row), width));
  const text = shown.flatMap((block, at) => {
    const entry = result.entries[isWide ? at - 1 : at];
    const mark = entry === undefined ? paint.bold : entry.outcome === 'failure' ? paint.red : String;
    return block.map((line) => mark(line));
  });
  return `${text.join('\n')}\n${folded([footer(result)], width)
    .map(paint.dim)
    .join('\n')}\n`;
}

function upTo(line: string, width: number): string {
  const letters = [...line];
  return letters.length <= width ? line : `${letters.slice(0, width - 1).join('')}…`;
}

/** Without headings above: what is there, and what it is. */
function labelled([
  id = '',
  time = '',
  action = '',
  user,
  address,
  resource,
  details = '',
]: string[]): string[] {
  const named = (word: string, text = '-') => (text === '-' ? '' : `${word} ${text}`);
  return [id, time, action, named('by', user), named('from', address), named('on', resource), details];
}

function cellsOf(entry: Entry, times: Times): string[] {
  const { user, created_at: created } = entry;
  return [
    entry.id,
    shownTime(created, times),
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
  const all =
    total === null ? '' : `of ${exact ? '' : 'more than '}${formatCount(total, 'entry', 'entries')}`;
  const place =
    page === null
      ? `${entries.length}`
      : `${(page - 1) * limit + 1} to ${(page - 1) * limit + entries.length}`;
  const more = next === null ? '' : page === null ? `; next: --cursor ${next}` : `; next: --page ${page + 1}`;
  return `${place} ${all}${more}`;
}
