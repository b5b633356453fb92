import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import ts from 'typescript';

const ROOT = resolve(import.meta.dirname, '../..');

let directory: string | null = null;

/**
 * Compiles the current src/ to JavaScript for separate threads and processes, because `dist/` may be older. Types are not checked.
 *
 * @returns the directory in place of `dist/`; everybody may read it
 */
export function compiled(): string {
  if (directory !== null) return join(directory, 'dist');
  directory = mkdtempSync(join(tmpdir(), 'postern-compiled-'));
  const dist = join(directory, 'dist');
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
  for (const name of sources.filter((file) => /\.tsx?$/.test(file) && !file.endsWith('.d.ts'))) {
    const { outputText } = ts.transpileModule(readFileSync(join(ROOT, 'src', name), 'utf8'), {
      fileName: name,
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        jsx: ts.JsxEmit.ReactJSX,
        jsxImportSource: 'hono/jsx',
      },
    });
    const to = join(dist, name.replace(/\.tsx?$/, '.js'));
    mkdirSync(dirname(to), { recursive: true, mode: 0o755 });
    writeFileSync(to, outputText);
  }
  copyFileSync(join(ROOT, 'package.json'), join(directory, 'package.json')); // the program reads its version from it
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  chmodSync(directory, 0o755);
  return dist;
}

/** For `afterAll`: vitest stops its workers without running their exit handlers. */
export function removeCompiled(): void {
  if (directory !== null) rmSync(directory, { recursive: true, force: true });
  directory = null;
}
