import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import { groupedDigits } from '../grouped-digits.js';
import type { Count, Stats } from '../query/stats.js';
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
  formatCount,
  type Paint,
  visibleUpTo,
  wantsColour,
} from './support/terminal.js';
import { withQueries } from './support/with-queries.js';

export function registerStats(program: Command): void {
  withFilter(program.command('stats').description('Count entries by action, user, address and day'))
    .option('--top <number>', 'number of lines in each list', '10')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Without --from and --to it counts the last 30 days.

Examples:
  $ postern-auditd stats
  $ postern-auditd stats --outcome failure --from -7d --json | jq '.addresses'`,
    )
    .action(async (options: FilterOptions & { top?: string; json?: boolean }) => {
      const now = Date.now();
      const all =
        options.from === undefined && options.to === undefined ? { ...options, from: '-30d' } : options;
      const filter = await filterFromOptions(all, now);
      const top = numberOf('top', options.top, 10);
      await withQueries(options.config, async (queries) => {
        const stats = await queries.stats(filter, { top });
        const paint = createPaint(wantsColour(process.stdout, process.env));
        process.stdout.write(options.json === true ? `${toSafeJson(stats, 2)}\n` : renderStats(stats, paint));
        if (stats.note !== undefined) printNote(stats.note);
        if (stats.incomplete !== undefined) process.stderr.write(`INCOMPLETE: ${stats.incomplete}\n`);
      });
    });
}

const LONGEST = 48;
const BARS = '▁▂▃▄▅▆▇█';
/** Days on one line. */
const ACROSS = 60;

/** The counts as text. */
function renderStats(stats: Stats, paint: Paint): string {
  if (stats.total === 0) return 'No entries.\n';
  const { total, failures, undated } = stats;
  const more = undated === 0 ? '' : `, ${groupedDigits(undated)} without a readable time`;
  const lines = [`${formatCount(total, 'entry', 'entries')}, ${formatCount(failures, 'failure')}${more}`];
  for (const [title, counts] of [
    ['Actions', stats.actions],
    ['Users', stats.users],
    ['Addresses', stats.addresses],
  ] as const) {
    if (counts.length > 0) lines.push('', paint.bold(title), ...listed(counts));
  }
  const days = stats.days.slice(-ACROSS);
  const [first, last] = [days[0], days.at(-1)];
  if (first !== undefined && last !== undefined) {
    lines.push(
      '',
      paint.bold('Days (UTC)'),
      `  ${first.name} ${sparkline(days.map((day) => day.count))} ${last.name}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function listed(counts: readonly Count[]): string[] {
  const width = Math.max(...counts.map((one) => groupedDigits(one.count).length));
  return aligned(
    counts.map((one) => [groupedDigits(one.count).padStart(width), visibleUpTo(one.name, LONGEST)]),
    '  ',
  );
}

/** One bar per number, scaled to the highest; zero is a blank. */
export function sparkline(numbers: readonly number[]): string {
  const most = Math.max(1, ...numbers);
  return numbers
    .map((number) => (number === 0 ? ' ' : (BARS[Math.ceil((number / most) * BARS.length) - 1] ?? '█')))
    .join('');
}
