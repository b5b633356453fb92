import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { COMMAND_HINT } from '../../src/audit/secret-commands.js';
import { FORM_HINT } from '../../src/audit/secret-forms.js';
import { createSecretNames } from '../../src/audit/secret-names.js';
import { files, literals, nodes, parsed } from './literals.js';
import { complaint, complaintOf, LIMIT_MS, shown } from './recheck.js';

// A client writes what these expressions read, in the thread that ships: one that takes more than linear time on some text stops
// every ban with a single row. recheck says of each whether there is such a text. Those that it has shown to be linear already stand
// in shown.json; `npx vitest run --project release test/linear/expressions` asks about all of them anew and writes that file.

/** Files that make expressions out of text of their own, each tested below. */
const BUILDERS = [
  'audit/redaction.ts',
  'audit/mask-secrets-in-text.ts',
  'audit/unsafe-characters.ts', // classes of single characters, with nothing that repeats
  'fail2ban/client.ts',
];

const expressions = literals();
const known = shown();

describe('regular expressions are linear, whatever the text', () => {
  it('finds the expressions of the sources', () => {
    expect(expressions.length).toBeGreaterThan(100);
    // recheck has been renewed, or many have changed: write the file again, as above.
    expect(expressions.filter(({ text }) => known.has(text)).length).toBeGreaterThan(100);
  });

  it('tells a quadratic one', async () => {
    expect(await complaint('\\s*\\n', '')).toMatch(/polynomial/);
    expect(await complaint('-?eyJ[\\w-]*\\.[\\w-]+\\.x', '')).toMatch(/polynomial/);
    expect(await complaint('(?<!b)a[^b]*c', '')).toMatch(/polynomial/); // by fuzzing
  });

  for (const { file, text } of expressions) {
    if (known.has(text)) continue;
    it(`${file} ${text}`, { timeout: 2 * LIMIT_MS }, async () => {
      expect(await complaintOf(text)).toBeNull();
    });
  }

  it('knows every place that makes an expression of text', () => {
    const made = files.filter((file) =>
      nodes(parsed(file)).some(
        (node) =>
          (ts.isNewExpression(node) || ts.isCallExpression(node)) && node.expression.getText() === 'RegExp',
      ),
    );
    expect(new Set(made)).toEqual(new Set(BUILDERS));
  });

  it('the hint of the redaction, with names of a configuration', async () => {
    const { hint } = createSecretNames(['X-Vault-Key', 'a+b*(c)', 'pass phrase']);
    expect(await complaint(hint, 'gi')).toBeNull();
    expect(await complaint([hint, FORM_HINT, COMMAND_HINT].join('|'), '')).toBeNull();
  });

  it('what reads the answers of fail2ban', async () => {
    const time = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d';
    expect(await complaint('^.*- Currently banned:[ \\t]*(.*)$', 'm')).toBeNull();
    expect(await complaint(`^(\\S+)\\s+(${time}) \\+ (-?\\d+) = (${time})$`, '')).toBeNull();
  });
});
