import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import Database, { packageFor, SQLITE_PACKAGE } from '../src/load-sqlite.js';

const DIST = resolve(import.meta.dirname, '../dist');

describe('the SQLite module', () => {
  let directory: string | null = null;
  afterEach(() => {
    if (directory !== null) rmSync(directory, { recursive: true });
    directory = null;
  });

  it('is the one that this Node.js can have', () => {
    expect(SQLITE_PACKAGE).toBe(
      Number(process.versions.node.split('.')[0]) < 22 ? 'better-sqlite3' : 'better-sqlite3-napi',
    );
    expect(packageFor('9')).toBe('better-sqlite3'); // 20.x, and 22.13
    expect(packageFor('10')).toBe('better-sqlite3-napi'); // 22.14, 24.x
    expect(packageFor('11')).toBe('better-sqlite3-napi');
    expect(packageFor(undefined)).toBe('better-sqlite3');
    const db = new Database(':memory:');
    expect(db.prepare('SELECT 1').pluck().get()).toBe(1);
    db.close();
  });

  it('says what to do where it is not installed for this Node.js', () => {
    directory = mkdtempSync(join(tmpdir(), 'postern-sqlite-'));
    cpSync(DIST, directory, { recursive: true }); // a copy finds no node_modules
    const script = `import(${JSON.stringify(join(directory, 'load-sqlite.js'))}).catch(({ code, message }) => console.log(code, message))`;
    const { stdout } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    expect(stdout).toMatch(/^NOT_INSTALLED SQLite for Node\.js \S+ \(.*\) is not installed\. Run npm ci/);
  });
});
