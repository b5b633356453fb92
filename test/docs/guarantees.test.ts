import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'docs/reference/GUARANTEES.md'), 'utf8');

describe('docs/reference/GUARANTEES.md', () => {
  const named = [...text.matchAll(/`(test\/[^`]+)` — \*([^*]+)\*/g)].map(([, file = '', name = '']) => ({
    file,
    name,
  }));

  it('names a test for every promise', () => {
    const rows = text.split('\n').filter((line) => line.startsWith('| ') && line.includes('`test/'));
    expect(named.length).toBeGreaterThan(20);
    expect(rows.length).toBe(named.length);
  });

  it.each(named)('$file has "$name"', ({ file, name }) => {
    expect(existsSync(join(root, file))).toBe(true);
    expect(readFileSync(join(root, file), 'utf8')).toContain(name);
  });
});

describe('the documents', () => {
  const inDocs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' });
  const documents = [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    ...inDocs.map((name) => `docs/${name}`),
  ].filter((name) => name.endsWith('.md'));

  it.each(documents)('%s links only to existing files', (document) => {
    const links = [...readFileSync(join(root, document), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(
      ([, to = '']) => to,
    );
    const missing = links.filter((to) => !existsSync(resolve(root, document, '..', to)));
    expect(missing).toEqual([]);
  });
});

describe('docs/ARCHITECTURE.md', () => {
  const architecture = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8');
  const rowsOf = (heading: string) => {
    const [, after = ''] = architecture.split(`\n## ${heading}\n`);
    const [section = ''] = after.split('\n## ');
    const rows = [...section.matchAll(/^\| (?!term|folder|---)(.*) \|$/gm)];
    return rows.map(([, row = '']) => row.split('|').map((cell) => cell.trim()));
  };
  const folders = readdirSync(join(root, 'src')).filter((name) =>
    statSync(join(root, 'src', name)).isDirectory(),
  );

  it('has a row for each folder of src/ in its tables of folders and of files to read first', () => {
    for (const heading of ['Folders', 'Read first']) {
      const text = rowsOf(heading)
        .map(([first]) => first)
        .join(' ');
      expect(
        folders.filter((name) => !text.includes(`\`${name}/\``)),
        heading,
      ).toEqual([]);
    }
  });

  it('names files to read first that exist', () => {
    const files = rowsOf('Read first').flatMap(([folder = '', ...names]) =>
      names.filter((name) => name.startsWith('`')).map((name) => `src/${folder}${name}`.replaceAll('`', '')),
    );
    expect(files.length).toBeGreaterThan(50);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  it('explains at most 30 terms', () => {
    expect(rowsOf('Glossary').length).toBeGreaterThan(20);
    expect(rowsOf('Glossary').length).toBeLessThanOrEqual(30);
  });
});
