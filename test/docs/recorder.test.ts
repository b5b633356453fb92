import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const program = mkdtempSync(join(tmpdir(), 'postern-recorder-'));
const blocks = [...readFileSync(join(root, 'docs/RECORDER.md'), 'utf8').matchAll(/```js\n(.*?)```/gs)].map(
  ([, code = '']) => code,
);

/** What `npm pack` makes, unpacked where a program's dependencies are, with nothing else of this repository but SQLite. */
beforeAll(() => {
  const packed = execFileSync(
    'npm',
    ['pack', '--silent', '--ignore-scripts', '--pack-destination', program],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  const home = join(program, 'node_modules/postern-auditd');
  mkdirSync(home, { recursive: true });
  const tarball = packed.trim().split('\n').at(-1) ?? '';
  execFileSync('tar', ['-xzf', join(program, tarball), '--strip-components=1', '-C', home]);
  for (const name of ['better-sqlite3', 'bindings', 'file-uri-to-path'])
    symlinkSync(join(root, 'node_modules', name), join(program, 'node_modules', name));
});
afterAll(() => rmSync(program, { recursive: true }));

describe('docs/RECORDER.md', () => {
  it('has an example that runs with the package that npm pack creates', () => {
    const database = join(program, 'postern.db');
    writeFileSync(join(program, 'example.mjs'), blocks[0] ?? '');
    const env = { ...process.env, DATABASE: database };
    const printed = execFileSync('node', ['example.mjs'], { cwd: program, env, encoding: 'utf8' });
    expect(printed).toContain("action: 'update'");
    const db = new Database(database, { readonly: true });
    expect(db.prepare('SELECT ssl FROM proxy_host').pluck().get()).toBe(1);
    expect(db.prepare('SELECT * FROM audit_log').get()).toMatchObject({
      user_name: 'anna',
      resource_type: 'proxy_host',
      resource_id: '7',
      ip_address: '192.0.2.10',
      server: 'proxy-1',
      details: JSON.stringify({
        before: { domain: 'shop.example.net', ssl: 0 },
        after: { domain: 'shop.example.net', ssl: 1 },
      }),
    });
    db.close();
  });

  it('documents the answer to an unknown action', () => {
    const [example = '', errors = ''] = blocks;
    writeFileSync(join(program, 'errors.mjs'), example + errors.replace('console.error', 'console.log'));
    const printed = execFileSync('node', ['errors.mjs'], { cwd: program, encoding: 'utf8' });
    const said = /\/\/ (USAGE .*)/.exec(errors)?.[1] ?? 'no comment says it';
    expect(printed).toContain(said);
  });
});
