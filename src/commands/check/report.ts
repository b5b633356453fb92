import { AuditdError, type Diagnosis, messageOf } from '../../errors.js';
import type { Finding } from '../../sinks/sink.js';
import { escapeUnsafe, formatCount, type Paint } from '../support/terminal.js';

/** The findings about one thing: the database, a sink. */
export interface Section {
  readonly name: string;
  readonly findings: readonly Finding[];
}

export interface Summary {
  readonly ok: boolean;
  readonly errors: number;
  readonly warnings: number;
}

export function summarise(sections: readonly Section[]): Summary {
  const all = sections.flatMap(({ findings }) => findings);
  const errors = all.filter(({ level }) => level === 'error').length;
  const warnings = all.filter(({ level }) => level === 'warning').length;
  return { ok: errors === 0, errors, warnings };
}

const INDENT = ' '.repeat(11);

/** A heading, and under it each finding with its next step. */
export function renderSection({ name, findings }: Section, paint: Paint): string {
  const words = { ok: paint.green('ok'), warning: paint.yellow('warning'), error: paint.red('error') };
  const lines = findings.flatMap(({ level, what, next }) => [
    `  ${words[level]}${' '.repeat(9 - level.length)}${indented(what)}`,
    ...(next === undefined ? [] : [`${INDENT}${paint.cyan('next:')} ${indented(next)}`]),
  ]);
  return `${paint.bold(name)}\n${lines.join('\n')}\n\n`;
}

function indented(text: string): string {
  return text.split('\n').map(escapeUnsafe).join(`\n${INDENT}`);
}

export function renderSummary({ errors, warnings }: Summary, paint: Paint): string {
  if (errors === 0 && warnings === 0) return `${paint.green('All is well.')}\n`;
  const parts = [
    ...(errors > 0 ? [paint.red(formatCount(errors, 'error'))] : []),
    ...(warnings > 0 ? [paint.yellow(formatCount(warnings, 'warning'))] : []),
  ];
  return `${parts.join(', ')}\n`;
}

/** A finding of an error, with its next step. */
export function failure(error: unknown): Finding {
  return { level: 'error', ...partsOfError(error) };
}

/** What happened and what to do next. */
export function partsOfError(error: unknown): Parts {
  return error instanceof AuditdError ? partsOf(error) : { what: messageOf(error) };
}

type Parts = Pick<Finding, 'what' | 'next'>;

/** Behind `next:` the next step is the rest of a sentence. */
export function partsOf({ what, next }: Diagnosis): Parts {
  if (next === null) return { what };
  return { what, next: /^Postern/.test(next) ? next : next.charAt(0).toLowerCase() + next.slice(1) };
}
