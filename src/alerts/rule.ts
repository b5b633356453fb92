import type { Fact } from './facts.js';
import type { NewAlert } from './raised-alerts.js';

/** A kind of alert. */
export interface AlertRule {
  /** How far back it counts, ms. */
  readonly span: number;
  /** Of how many addresses and users rows are counted. */
  readonly size: number;
  /** Forgets all rows. */
  forget(): void;
  /** Counts an earlier row. It raises nothing. */
  recall(fact: Fact): void;
  /** A row that was just written. */
  observe(fact: Fact): NewAlert | null;
}

/** How many entries an alert names. */
const NAMED = 100;

/** The public ids of rows of Postern's table, of many the last. */
export function relatedRows(rows: readonly number[]): string[] {
  return rows.slice(-NAMED).map((row) => `postern:${row}`);
}
