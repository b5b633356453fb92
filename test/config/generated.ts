import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';

/**
 * Checks that generated text in the repository is up to date. UPDATE_DOCS=1 writes it.
 *
 * @param name selects the text between the comments `<!-- generated: NAME -->` and `<!-- end -->`; null for the whole file
 */
export function expectGenerated(file: string, name: string | null, text: string): void {
  const before = readFileSync(file, { encoding: 'utf8', flag: 'a+' });
  const after = name === null ? text : replaced(before, name, text, file);
  if (process.env.UPDATE_DOCS === '1' && after !== before) writeFileSync(file, after);
  else expect(before, `${file} is out of date; write it with: UPDATE_DOCS=1 npx vitest run`).toBe(after);
}

function replaced(before: string, name: string, text: string, file: string): string {
  const [start, end] = [`<!-- generated: ${name} -->\n`, '<!-- end -->'];
  const from = before.indexOf(start);
  const to = before.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`${file} has no place for ${start.trim()}`);
  return `${before.slice(0, from + start.length)}${text}\n${before.slice(to)}`;
}
