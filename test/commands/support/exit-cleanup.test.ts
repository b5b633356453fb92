import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Tables } from '../../query/tables.js';
import { compiled, removeCompiled } from '../../support/compiled.js';
import { CLI } from '../cli.js';

let tables: Tables;
let args: readonly string[];
let env: NodeJS.ProcessEnv;

/** A Postern that was killed, whose database is read from a copy, with more rows than a pipe takes. */
beforeAll(() => {
  tables = new Tables();
  tables.insert(
    Array.from({ length: 3_000 }, () => ({ action: 'update', details: `{"x":"${'x'.repeat(200)}"}` })),
  );
  const stopped = join(tables.directory, 'stopped.db');
  for (const suffix of ['', '-wal']) copyFileSync(`${tables.database}${suffix}`, `${stopped}${suffix}`);
  const config = join(tables.directory, 'config.yml');
  writeFileSync(config, `source: { database: ${stopped} }\nstate: ${tables.directory}\n`);
  args = ['--config', config, '--source', 'postern'];
});
afterAll(() => tables.remove());
afterAll(removeCompiled);

let number = 0;
beforeEach(() => {
  const TMPDIR = join(tables.directory, `tmp-${number++}`);
  mkdirSync(TMPDIR);
  env = { PATH: process.env.PATH, TMPDIR };
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'no copy of the database is left behind after %s',
  async (signal) => {
    const child = spawn(process.execPath, [CLI, 'export', ...args], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    await once(child.stdout, 'readable'); // and not read: it goes on when that is
    expect(readdirSync(env.TMPDIR ?? '')).toHaveLength(1);
    child.kill(signal);
    expect(await ended).toEqual([null, signal]);
    expect(readdirSync(env.TMPDIR ?? '')).toEqual([]);
    child.stdout.destroy();
  },
);

test.each(['query --limit 1000', 'export', 'stats'])(
  'no copy of the database is left behind by %s when the pipe is closed',
  (command) => {
    const line = `"$0" "$@" | true`;
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', line, process.execPath, CLI, ...command.split(' '), ...args],
      {
        env,
        encoding: 'utf8',
      },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(readdirSync(env.TMPDIR ?? '')).toEqual([]);
  },
);

test('no partial export to a file is left behind', async () => {
  const output = join(env.TMPDIR ?? '', 'out');
  mkdirSync(output);
  const child = spawn(process.execPath, [CLI, 'export', ...args, '-o', join(output, 'all.csv')], { env });
  const ended = once(child, 'exit');
  while (readdirSync(output).length === 0 && child.exitCode === null)
    await new Promise((done) => setTimeout(done, 1));
  child.kill('SIGINT');
  await ended;
  // It may have been quicker: then it is whole.
  expect(readdirSync(output).filter((name) => name !== 'all.csv')).toEqual([]);
});

test('a signal during busy work ends the command', async () => {
  const leftovers = pathToFileURL(join(compiled(), 'commands/support/exit-cleanup.js')).href;
  const program = `import { removeAtEnd } from '${leftovers}';
    const remove = removeAtEnd('${join(env.TMPDIR ?? '', 'copy')}');
    process.kill(process.pid, 'SIGINT');
    remove();
    setTimeout(() => undefined, 5_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { env });
  expect(await once(child, 'exit')).toEqual([null, 'SIGINT']);
});
