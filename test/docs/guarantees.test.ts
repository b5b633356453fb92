import { existsSync, readdirSync, readFileSync } from 'node:fs';
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

  it.each(documents)('%s links to files that are there', (document) => {
    const links = [...readFileSync(join(root, document), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(
      ([, to = '']) => to,
    );
    const missing = links.filter((to) => !existsSync(resolve(root, document, '..', to)));
    expect(missing).toEqual([]);
  });
});
