// Creates dist/: the program in a few files instead of 400 of ours and as many of its packages. A start reads and compiles far less, and
// code that only some processes need stays in separate files, which `import()` loads.
//
//   node scripts/build.js [DIRECTORY]    default: dist
//
// Names and lines are kept for stack traces and profiles; minifying them saves no more memory (measured). Comments are removed, and characters
// outside ASCII are escaped: V8 keeps the source, with two bytes per character if it has one of them. `npm run typecheck` checks types.
import { chmodSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { rolldown } from 'rolldown';

const root = resolve(import.meta.dirname, '..');
const directory = resolve(process.argv[2] ?? join(root, 'dist'));

/** Files that are started or imported by name: the command, threads, a child process, and the exports of package.json. */
const ENTRIES = [
  'cli',
  'load-sqlite',
  'recorder/recorder',
  'query/thread/worker',
  'retention/worker',
  'retention/purge/process',
];
/** Native code, which differs between machines. load-sqlite.ts and load-unix-datagrams.ts look for it in node_modules. */
const NATIVE = ['better-sqlite3', 'better-sqlite3-napi', 'node-unix-socket'];

const bundle = await rolldown({
  cwd: root,
  input: Object.fromEntries(ENTRIES.map((name) => [name, `src/${name}.ts`])),
  platform: 'node',
  tsconfig: join(root, 'tsconfig.json'),
  external: NATIVE,
});
const { output } = await bundle.write({
  dir: directory,
  format: 'esm',
  minify: { compress: false, mangle: false, codegen: { removeWhitespace: false, asciiOnly: true } },
  comments: { legal: true, jsdoc: false, annotation: false },
  entryFileNames: '[name].js',
  // The hash keeps a running process from loading a part of another build. Instead the import fails.
  chunkFileNames: '[name]-[hash].js',
});
await bundle.close();

const written = new Set(output.map(({ fileName }) => fileName));
for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }))
  if (/\.(js|map|d\.ts)$/.test(name) && !written.has(name)) rmSync(join(directory, name));
chmodSync(join(directory, 'cli.js'), 0o755);
