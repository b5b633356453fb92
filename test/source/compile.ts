import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDERS = ['audit', 'config', 'source'];

let compiled: string | null = null;

/** For `afterAll`: vitest ends its workers without their exit handlers. */
export function removeCompiled(): void {
  if (compiled !== null) rmSync(compiled, { recursive: true, force: true });
  compiled = null;
}

/** The source as JavaScript, for processes that run as another user or in a mount namespace. */
export function compiledSource(): string {
  if (compiled !== null) return compiled;
  const directory = mkdtempSync(join(tmpdir(), 'postern-source-js-'));
  const files = [
    'errors.ts',
    ...FOLDERS.flatMap((folder) => readdirSync(join(ROOT, 'src', folder)).map((name) => `${folder}/${name}`)),
  ];
  for (const file of files.filter((name) => name.endsWith('.ts'))) {
    const { outputText } = ts.transpileModule(readFileSync(join(ROOT, 'src', file), 'utf8'), {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    });
    const to = join(directory, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(to), { recursive: true, mode: 0o755 });
    writeFileSync(to, outputText);
  }
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  chmodSync(directory, 0o755);
  compiled = directory;
  return directory;
}
