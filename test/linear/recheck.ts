import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

// recheck by its JavaScript alone: it needs no Java, and says the same on every machine.
process.env.RECHECK_BACKEND = 'pure';
const { check } = await import('recheck');

/** What was shown to be linear, and by which recheck: shown once, it is not asked again for each change. */
export const SHOWN_FILE = join(import.meta.dirname, 'shown.json');
export const VERSION = (createRequire(import.meta.url)('recheck/package.json') as { version: string })
  .version;

interface Shown {
  readonly recheck: string;
  readonly expressions: readonly string[];
}

/** The expressions that this recheck has shown to be linear. */
export function shown(): ReadonlySet<string> {
  const { recheck, expressions } = JSON.parse(readFileSync(SHOWN_FILE, 'utf8')) as Shown;
  return new Set(recheck === VERSION ? expressions : []);
}

/** A busy machine takes a minute for the worst of them; what is still not decided then counts as not shown. */
export const LIMIT_MS = 400_000;

/**
 * Steps are counted, not time: by default recheck calls vulnerable whatever takes it a second, which on a busy machine is anything.
 * 50,000,000 steps over 20,000 characters leave 2,500 for each, and a quadratic expression exceeds them eightfold.
 */
const SETTINGS = {
  attackTimeout: null,
  incubationTimeout: null,
  attackLimit: 50_000_000,
  maxAttackStringSize: 20_000,
  timeout: LIMIT_MS,
};

/** What is wrong with an expression; null if it is linear on every text. */
export async function complaint(source: string, flags: string): Promise<string | null> {
  const result = await check(source, flags, SETTINGS);
  if (result.status === 'safe') return null;
  return result.status === 'vulnerable' ? result.complexity.summary : `undecided (${result.error.kind})`;
}

export function complaintOf(literal: string): Promise<string | null> {
  const end = literal.lastIndexOf('/');
  return complaint(literal.slice(1, end), literal.slice(end + 1));
}
