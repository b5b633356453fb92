import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

const root = resolve(import.meta.dirname, '../../src');

export interface Literal {
  readonly file: string;
  /** As it stands in the source, with its slashes and flags. */
  readonly text: string;
}

export function nodes(node: ts.Node): ts.Node[] {
  const found = [node];
  ts.forEachChild(node, (child) => {
    found.push(...nodes(child));
  });
  return found;
}

export function parsed(file: string): ts.SourceFile {
  const text = readFileSync(join(root, file), 'utf8');
  return ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
}

export const files: readonly string[] = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
  (name) => /\.tsx?$/.test(name),
);

/** Each expression of the sources once. */
export function literals(): Literal[] {
  const all = files.flatMap((file) =>
    nodes(parsed(file))
      .filter(ts.isRegularExpressionLiteral)
      .map(({ text }) => ({ file, text })),
  );
  return [...new Map(all.map((literal) => [literal.text, literal])).values()];
}
