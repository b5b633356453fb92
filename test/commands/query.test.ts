import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderTable } from '../../src/commands/query.js';
import { sparkline } from '../../src/commands/stats.js';
import { createPaint } from '../../src/commands/support/terminal.js';
import { utcTime } from '../../src/commands/support/times.js';
import type { Entry } from '../../src/query/entry.js';
import { seconds, Tables } from '../query/tables.js';
import { CLI, run } from './cli.js';

let tables: Tables;
let config: string[];
beforeAll(() => {
  tables = new Tables({ indexes: false });
  const path = join(tables.directory, 'config.yml');
  writeFileSync(path, `source: { database: ${tables.database} }\nstate: ${tables.directory}\n`);
  config = ['--config', path];
  tables.insert(
    Array.from({ length: 3_000 }, (_, at) => ({
      created_at: seconds(at),
      user_name: at === 0 ? '=cmd()' : 'ann',
      action: 'update',
      resource_type: 'user',
      ip_address: '203.0.113.7',
    })),
  );
});
afterAll(() => tables.remove());

describe('query', () => {
  it('query shows a page and the cursor of the next one', () => {
    const { code, out } = run(['query', ...config, '--limit', '2', '--user', 'ann']);
    const lines = out.split('\n');
    expect(code).toBe(0);
    expect(lines[1]).toMatch(
      /^postern:3000 {2}2026-11-01T00:49:59Z {2}user\.update {2}ann +203\.0\.113\.7 {2}user/,
    );
    expect(lines[3]).toBe('1 to 2 of 2,999 entries; next: --page 2');
  });

  it('query notes an unknown name of an action', () => {
    expect(run(['query', ...config, '--action', 'user.updat'])).toEqual({
      code: 0,
      out: 'No entries.\n',
      err: 'postern-auditd: no action named "user.updat" in the catalog of events; did you mean user.update?\n',
    });
    expect(run(['stats', ...config, '--action', 'nope']).err).toContain('no action named "nope"');
    const output = join(tables.directory, 'none.csv');
    expect(run(['export', ...config, '--action', 'nope', '-o', output]).err).toContain(
      'no action named "nope"',
    );
  });

  it('query prints JSON with the cursor of the next page', () => {
    const first = JSON.parse(run(['query', ...config, '--limit', '2', '--json']).out) as { next: string };
    const { out } = run(['query', ...config, '--limit', '2', '--ndjson', '--cursor', first.next]);
    expect(
      out
        .split('\n')
        .slice(0, 2)
        .map((line) => (JSON.parse(line) as Entry).id),
    ).toEqual(['postern:2998', 'postern:2997']);
  });

  it('query rejects an invalid option, and names it', () => {
    expect(run(['query', ...config, '--ip', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('ip: found "x"'),
    });
    expect(run(['query', ...config, '--json', '--csv']).code).toBe(2);
    expect(run(['query', ...config, '--cursor', 'x', '--page', '2'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--page and --cursor exclude each other. Give one of them'),
    });
  });

  it('query keeps to the width of the terminal, whatever a row contains', () => {
    const entry: Entry = {
      id: 'postern:1',
      created_at: null,
      user: { id: null, name: '\u001b[31m\u202ex', email: null },
      action: 'user.update',
      resource_type: 'x'.repeat(300),
      resource_id: '1',
      details: { text: 'y'.repeat(500) },
      ip_address: null,
      server: 's',
      outcome: 'success',
    };
    const text = renderTable(
      { entries: [entry], page: 1, limit: 50, total: 1, total_exact: true, next: null },
      { width: 100, paint: createPaint(false), times: utcTime },
    );
    for (const line of text.split('\n')) expect([...line].length).toBeLessThanOrEqual(100);
    expect(text).not.toMatch(/[\u001b\u202e]/);
  });
});

it('a full disk behind standard output is reported as an incomplete output', () => {
  const output = join(tables.directory, 'page.json');
  const args = [process.execPath, CLI, 'query', '--limit', '1000', '--json', ...config];
  const line = `ulimit -f 8; ${args.map((arg) => `'${arg}'`).join(' ')} > '${output}'`;
  const { status, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8' });
  expect(stderr).toMatch(
    /^postern-auditd: Standard output can't be written \(EFBIG.*incomplete\. Free disk space/,
  );
  expect([status, statSync(output).size]).toEqual([1, 8_192]);
});

describe('export', () => {
  it('export writes a complete file, and leaves no other file', () => {
    const output = join(tables.directory, 'all.csv');
    const { code, err } = run(['export', ...config, '-o', output]);
    expect([code, err]).toEqual([0, `3,000 entries in ${output}\n`]);
    const lines = readFileSync(output, 'utf8').split('\r\n');
    expect(lines).toHaveLength(3_002);
    expect(lines[3_000]).toContain(`"'=cmd()"`);
    expect(readdirSync(tables.directory).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('export prints nothing on standard error, however large the output is', () => {
    const large = new Tables();
    const details = JSON.stringify({ x: 'x'.repeat(10_000) });
    large.insert(Array.from({ length: 3_000 }, () => ({ details })));
    const path = join(large.directory, 'config.yml');
    writeFileSync(path, `source: { database: ${large.database} }\nstate: ${large.directory}\n`);
    const line = `"$0" "$@" | wc -l`;
    const args = [line, process.execPath, CLI, 'export', '--config', path];
    const { stdout, stderr } = spawnSync('sh', ['-c', ...args], { encoding: 'utf8' });
    large.remove();
    expect({ stdout, stderr }).toEqual({ stdout: '3000\n', stderr: '' });
  });

  it('export replaces only regular files', () => {
    const [link, file] = [join(tables.directory, 'link.csv'), join(tables.directory, 'file.csv')];
    writeFileSync(file, '');
    symlinkSync(file, link);
    expect(run(['export', ...config, '-o', link]).code).toBe(0);
    expect([lstatSync(link).isSymbolicLink(), statSync(file).size > 0]).toEqual([true, true]);
    const pipe = join(tables.directory, 'pipe');
    spawnSync('mkfifo', [pipe]);
    const { code, err } = run(['export', ...config, '-o', pipe]);
    expect([code, err]).toEqual([2, expect.stringContaining('is not a regular file. Leave -o out')]);
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });

  it('export exits with 1 for a full disk, and with 2 for a path that can not be created', () => {
    const output = join(tables.directory, 'full.csv');
    const args = [process.execPath, CLI, 'export', ...config, '-o', output].map((arg) => `'${arg}'`);
    const full = spawnSync('bash', ['-c', `ulimit -f 8; ${args.join(' ')}`], { encoding: 'utf8' });
    expect([full.status, full.stderr]).toEqual([1, expect.stringMatching(/can't be written: EFBIG.*-o\n$/)]);
    expect(readdirSync(tables.directory).filter((name) => name.includes('full.csv'))).toEqual([]);
    for (const place of ['/not/there', join(tables.directory, 'config.yml')]) {
      const { code, err } = run(['export', ...config, '-o', join(place, 'full.csv')]);
      expect([code, err]).toEqual([
        2,
        expect.stringMatching(/^postern-auditd: .*full\.csv can't be .*-o\n$/),
      ]);
    }
  });

  it('export ends without an error when its reader closes the pipe', () => {
    const args = [process.execPath, CLI, 'export', ...config].map((arg) => `'${arg}'`).join(' ');
    const { stdout, stderr } = spawnSync('bash', ['-c', `${args} | head -n 1`], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect((JSON.parse(stdout) as Entry).id).toBe('postern:3000');
  });
});

describe('stats', () => {
  it('stats counts', () => {
    const { out } = run(['stats', ...config, '--from', '2026-11-01', '--json']);
    expect(JSON.parse(out)).toMatchObject({
      total: 3_000,
      actions: [{ name: 'user.update', count: 3_000 }],
      addresses: [{ name: '203.0.113.7', count: 3_000 }],
      days: [{ name: '2026-11-01', count: 3_000 }],
    });
  });

  it('stats draws days', () => {
    expect(sparkline([0, 1, 4, 8])).toBe(' ▁▄█');
  });
});

describe('index', () => {
  it('index prints the cost, and creates the indexes with --yes', () => {
    const names = () =>
      tables.postern
        .prepare(
          "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = 'audit_log'",
        )
        .pluck()
        .get();
    tables.postern.exec('DELETE FROM audit_log WHERE id <= 2900'); // as retention does
    const told = run(['index', ...config]);
    expect(told.out).toMatch(
      /about 100 rows\) lacks 7 indexes:[\s\S]*write lock[\s\S]*Nothing has been changed/,
    );
    expect(names()).toBe(0);
    expect(run(['index', ...config, '--yes']).out).toContain('audit_log_action: created in');
    expect(names()).toBe(7);
    expect(run(['index', ...config]).out).toBe('Table audit_log has every index that queries use.\n');
  });
});
