import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const page = readFileSync(join(root, 'docs/internals/ROW.md'), 'utf8');

/** The functions that the page names, each with the file that it names last before them. */
function namedFunctions(): Array<[path: string, name: string]> {
  let file = '';
  return [...page.matchAll(/`(src\/[^`]+)`|`([\w$]+)\(\)`/g)].flatMap(([, path, name]) => {
    if (path !== undefined) file = path;
    return name === undefined ? [] : [[file, name]];
  });
}

test('each file that ROW.md names exists', () => {
  const paths = [...page.matchAll(/`(src\/[^`]+)`/g)].map(([, path = '']) => path);
  expect(paths.length).toBeGreaterThan(30);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

test('each function that ROW.md names is defined in the file named before it', () => {
  const named = namedFunctions();
  expect(named.length).toBeGreaterThan(30);
  const missing = named.filter(([path, name]) => {
    const definition = new RegExp(
      `^(?:export )?(?:async )?function ${name}\\b|^  (?:private |async )*${name}[(<]`,
      'm',
    );
    return !existsSync(join(root, path)) || !definition.test(readFileSync(join(root, path), 'utf8'));
  });
  expect(missing).toEqual([]);
});

test('the lines of ROW.md fit a terminal', () => {
  expect(page.split('\n').filter((line) => line.length > 100)).toEqual([]);
});
