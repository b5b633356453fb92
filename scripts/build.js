// Creates dist/: the program in a few files instead of 400 of ours and as many of its packages. A start reads and compiles far less, and
// code that only some processes need stays in separate files, which `import()` loads.
//
//   node scripts/build.js [DIRECTORY]    default: dist
//
// Names and lines are kept for stack traces and profiles; minifying them saves no more memory (measured). Comments are removed, and characters
// outside ASCII are escaped: V8 keeps the source, with two bytes per character if it has one of them. `npm run typecheck` checks types.
import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

writeFileSync(join(directory, 'LICENSES.txt'), licences(output));

const written = new Set(output.map(({ fileName }) => fileName));
for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }))
  if (/\.(js|map|d\.ts)$/.test(name) && !written.has(name)) rmSync(join(directory, name));
chmodSync(join(directory, 'cli.js'), 0o755);

/** The licences of all packages whose code is in the bundle: a copy of the code must carry them. */
function licences(chunks) {
  const modules = chunks.flatMap(({ moduleIds = [] }) => moduleIds);
  const roots = modules.flatMap(
    (file) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0] ?? [],
  );
  const packages = [...new Set(roots)].sort((a, b) => a.localeCompare(b, 'en'));
  const texts = packages.map((package_) => {
    const { name, version, license } = JSON.parse(readFileSync(join(package_, 'package.json'), 'utf8'));
    const file = readdirSync(package_).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : readFileSync(join(package_, file), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  return `Packages whose code is in the files of this directory, and their licences.\n\n${texts.join(`\n${'-'.repeat(80)}\n\n`)}`;
}
