import { readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { literals } from './literals.js';
import { complaintOf, SHOWN_FILE, VERSION } from './recheck.js';

// Asks recheck about every expression anew, and notes what it has shown, for expressions.test.ts to take as shown.

it('recheck shows every expression of the sources to be linear', { timeout: 7_200_000 }, async () => {
  const complaints: string[] = [];
  const linear: string[] = [];
  for (const { file, text } of literals()) {
    const found = await complaintOf(text);
    if (found === null) linear.push(text);
    else complaints.push(`${file} ${text}: ${found}`);
  }
  expect(complaints).toEqual([]);
  const expected = `${JSON.stringify({ recheck: VERSION, expressions: linear.sort((a, b) => (a < b ? -1 : 1)) }, null, 2)}\n`;
  if (readFileSync(SHOWN_FILE, 'utf8') !== expected) writeFileSync(SHOWN_FILE, expected);
});
