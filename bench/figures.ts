import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { GB } from './bench-fixture.js';

/** One line of the table: what was measured, beside a goal and what another program took in the same run. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly goal?: { readonly atMost: number } | { readonly atLeast: number };
  /** In the same unit. */
  readonly peer?: { readonly name: string; readonly value: number };
  /** The bench that measures it. */
  readonly bench: string;
}

const figures: Figure[] = [];

export function addFigure(figure: Figure): void {
  figures.push(figure);
}

/** All figures of this run as a Markdown table, null if there are none. A figure that misses its goal is marked. */
export function figuresTable(): string | null {
  if (figures.length === 0) return null;
  const lines = figures.map(({ name, value, unit, goal, peer, bench }) => {
    const cells = [
      name,
      `${isMissed(value, goal) ? '**falls short:** ' : ''}${number(value)} ${unit}`,
      goal === undefined ? '' : 'atMost' in goal ? `≤ ${number(goal.atMost)}` : `≥ ${number(goal.atLeast)}`,
      peer === undefined ? '' : `${number(peer.value)} ${unit}: ${peer.name}`,
      peer === undefined ? '' : number(value / peer.value),
      `\`${bench}\``,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| figure | measured | goal | peer, same run | ratio | bench |',
    '| --- | ---: | ---: | --- | ---: | --- |',
    ...lines,
  ].join('\n');
}

function isMissed(value: number, goal: Figure['goal']): boolean {
  if (goal === undefined) return false;
  return 'atMost' in goal ? value > goal.atMost : value < goal.atLeast;
}

/** Three significant digits, and thousands separated. */
function number(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: digits });
}

/** The machine and the day, in one sentence. */
export function machine(): string {
  const [cpu] = cpus();
  const system = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const day = new Date().toISOString().slice(0, 10);
  return (
    `${day}, commit ${commit}: ${cpus().length} cores (${cpu?.model.trim() || arch()}), ` +
    `${(totalmem() / GB).toFixed(0)} GB, ${system}, Linux ${release()}, Node.js ${process.versions.node}.`
  );
}

const PAGE = join(resolve(import.meta.dirname, '../..'), 'docs/PERFORMANCE.md');
const [BEGIN, END] = ['<!-- begin: npm run bench -- --write -->', '<!-- end -->'];

/** Puts the table into docs/PERFORMANCE.md, with machine and day. */
export function writeTable(): void {
  const page = readFileSync(PAGE, 'utf8');
  const [before, rest = ''] = page.split(BEGIN);
  const after = rest.split(END)[1];
  if (before === undefined || after === undefined)
    throw new Error(`${PAGE} lacks the line ${BEGIN} or ${END}`);
  writeFileSync(PAGE, `${before}${BEGIN}\n${machine()}\n\n${figuresTable()}\n${END}${after}`);
}
