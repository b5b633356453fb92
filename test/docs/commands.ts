import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';
import { CLI } from '../commands/cli.js';

/** The commands of the blocks behind a heading, block by block. */
export function blocksOf(page: string, heading: string): string[][] {
  const text = readFileSync(resolve(import.meta.dirname, '../../docs/guide', page), 'utf8');
  const at = text.indexOf(`\n${heading}\n`);
  if (at === -1) throw new Error(`docs/${page} has no ${heading}`);
  const [section = ''] = text.slice(at + 1 + heading.length).split(/^## /m);
  return [...section.matchAll(/```\n([\s\S]*?)```/g)].map(([, block = '']) =>
    block.split('\n').flatMap((line) => (line.startsWith('$ ') ? [line.slice(2)] : [])),
  );
}

/**
 * Runs them by a shell that finds our command by its name, until one fails.
 *
 * @param more what is added to each call of it
 */
export function runBlock(lines: readonly string[], cwd: string, more = ''): string {
  const bin = join(cwd, 'bin');
  mkdirSync(bin, { recursive: true });
  const command = join(bin, 'postern-auditd');
  writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@" ${more}\n`);
  chmodSync(command, 0o755);
  const env = { PATH: `${bin}:${process.env.PATH}` };
  return lines
    .map((line) => {
      const { status, stdout, stderr } = spawnSync('sh', ['-c', line], { cwd, env, encoding: 'utf8' });
      expect([line, status, status === 0 ? '' : stderr]).toEqual([line, 0, '']);
      return stdout;
    })
    .join('');
}
