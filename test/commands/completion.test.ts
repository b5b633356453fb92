import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { completionFor } from '../../src/commands/completion/scripts.js';
import { createProgram } from '../../src/commands/program.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-auditd-completion-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
writeFileSync(join(directory, 'config.yml'), '');

const has = (shell: string) => spawnSync(shell, ['-c', 'true']).status === 0;
for (const shell of ['zsh', 'fish'].filter((name) => !has(name))) {
  console.warn(
    `SKIPPED: ${shell} is not installed (apt-get install ${shell}): its completion is not read by it`,
  );
}

function script(shell: string): string {
  const path = join(directory, `completion.${shell}`);
  writeFileSync(path, completionFor(shell, createProgram()));
  return path;
}

/** What bash offers for the last of the words. */
function offered(...words: string[]): string[] {
  const line = ['postern-auditd', ...words].map((word) => `'${word}'`).join(' ');
  const commands = `source '${script('bash')}'; COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _postern_auditd; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-uc', commands], {
    encoding: 'utf8',
    cwd: directory,
  });
  expect(stderr).toBe('');
  return stdout
    .split('\n')
    .filter((word) => word !== '')
    .sort();
}

describe('bash', () => {
  it.each<[string, string[], string[]]>([
    ['a command', ['ch'], ['check']],
    ['commands that begin alike', ['con'], ['config', 'configure']],
    ['an option', ['check', '--j'], ['--json']],
    ['an option behind another', ['check', '--json', '--c'], ['--config']],
    ['a file', ['check', '--config', 'con'], ['config.yml']],
    ['one of the choices', ['tail', '--outcome', 'f'], ['failure']],
    ['a choice of an argument', ['completion', ''], ['--help', '--instance', '-h', 'bash', 'fish', 'zsh']],
    ['nothing, where it can not know', ['tail', '--ip', ''], []],
    ['a command to be helped with', ['help', 'un'], ['unban']],
    ['an option of the program', ['--de'], ['--debug']],
  ])('%s', (_, words, expected) => {
    expect(offered(...words)).toEqual(expected);
  });

  it('bash offers every command except the hidden ones', () => {
    expect(offered('')).toEqual(
      expect.arrayContaining(['bans', 'check', 'completion', 'explain', 'run', 'tail', 'unban']),
    );
    expect(offered('')).not.toContain('facts');
  });
});

describe.each(['zsh', 'fish'])('%s', (shell) => {
  it.skipIf(!has(shell))('reads its script', () => {
    const { status, stderr } = spawnSync(shell, ['-n', script(shell)], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  it('knows every command and option', () => {
    const text = completionFor(shell, createProgram());
    for (const word of ['explain', 'unban', 'outcome', 'no-follow', 'failure']) expect(text).toContain(word);
  });
});
