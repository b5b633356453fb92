import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { COMMAND_HINT } from '../../src/audit/secret-commands.js';
import { FORM_HINT } from '../../src/audit/secret-forms.js';
import { createSecretNames } from '../../src/audit/secret-names.js';

// A client writes what these expressions read, in the thread that ships: one that takes more than linear time on some text stops
// every ban with a single row. recheck says of each whether there is such a text; by its JavaScript alone, which downloads nothing.

process.env.RECHECK_BACKEND = 'pure';
const { check } = await import('recheck');

const root = resolve(import.meta.dirname, '../../src');

/** What recheck can't be shown, by file and expression, with the reason why it is linear all the same. */
const EXCEPTIONS: ReadonlyMap<string, string> = new Map([
  [
    'audit/secret-commands.ts /(?<![\\w-])-u(?=[^\\s:"\'\\\\]{1,128}:)/g',
    'looks at 128 characters behind each -u, which can not begin within a word',
  ],
  [
    'audit/secret-forms.ts /-{4,5} ?BEGIN ([A-Z0-9 ]{1,80})-{4,5}/g',
    'looks at 80 characters behind each BEGIN; growth.test.ts has it',
  ],
  ['audit/secret-forms.ts /-{4,5} ?END [A-Z0-9 ]{1,80}-{4,5}/g', 'the same'],
]);

/** Files that make expressions out of text of their own, each tested below. */
const BUILDERS = [
  'audit/redaction.ts',
  'audit/secret-text.ts',
  'audit/unsafe-characters.ts', // classes of single characters, with nothing that repeats
  'fail2ban/client.ts',
];

/** A busy machine takes a minute for the worst of them; what is still not decided then counts as not shown. */
const LIMIT_MS = 400_000;

interface Literal {
  readonly file: string;
  readonly text: string;
}

function parsed(file: string): ts.SourceFile {
  const text = readFileSync(join(root, file), 'utf8');
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
}

function nodes(node: ts.Node): ts.Node[] {
  const found = [node];
  ts.forEachChild(node, (child) => {
    found.push(...nodes(child));
  });
  return found;
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => /\.tsx?$/.test(name));
const literals: Literal[] = files.flatMap((file) =>
  nodes(parsed(file))
    .filter(ts.isRegularExpressionLiteral)
    .map(({ text }) => ({ file, text })),
);
const expressions = [...new Map(literals.map((literal) => [literal.text, literal])).values()];

async function complaint(source: string, flags: string): Promise<string | null> {
  const result = await check(source, flags, { timeout: LIMIT_MS });
  if (result.status === 'safe') return null;
  return result.status === 'vulnerable' ? result.complexity.summary : `undecided (${result.error.kind})`;
}

describe('regular expressions are linear, whatever the text', () => {
  it('finds the expressions of the sources', () => {
    expect(expressions.length).toBeGreaterThan(100);
    for (const excepted of EXCEPTIONS.keys()) {
      expect(literals.map(({ file, text }) => `${file} ${text}`)).toContain(excepted);
    }
  });

  it('tells a quadratic one', async () => {
    expect(await complaint('\\s*\\n', '')).toMatch(/polynomial/);
  });

  for (const { file, text } of expressions) {
    if (EXCEPTIONS.has(`${file} ${text}`)) continue;
    it(`${file} ${text}`, { timeout: 2 * LIMIT_MS }, async () => {
      const end = text.lastIndexOf('/');
      expect(await complaint(text.slice(1, end), text.slice(end + 1))).toBeNull();
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
