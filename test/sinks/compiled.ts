import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const FOLDERS = ['audit', 'config', 'formats', 'sinks'];

/**
 * src/ as it is now, as JavaScript, for tests that run it in a process of its own: a `dist/` may be older. Types are not checked.
 *
 * @returns the directory that stands for `dist/`
 */
export function compileTo(directory: string): string {
  fs.writeFileSync(path.join(directory, 'package.json'), '{"type":"module"}');
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(directory, 'node_modules'));
  const files = FOLDERS.flatMap((folder) =>
    fs
      .readdirSync(path.join(root, 'src', folder), { recursive: true, encoding: 'utf8' })
      .map((name) => path.join(folder, name)),
  );
  const target = path.join(directory, 'dist');
  for (const name of ['errors.ts', ...files].filter((file) => file.endsWith('.ts'))) {
    const { outputText } = ts.transpileModule(fs.readFileSync(path.join(root, 'src', name), 'utf8'), {
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
      },
    });
    const out = path.join(target, name.replace(/\.ts$/, '.js'));
    fs.mkdirSync(path.dirname(out), { recursive: true });
    fs.writeFileSync(out, outputText);
  }
  return target;
}
