import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expectGenerated } from '../config/generated.js';
import { commandReference, configManual, manual } from './pages.js';

const mandoc = spawnSync('mandoc', ['-T', 'lint', '/dev/null']).error === undefined;
if (!mandoc)
  console.warn('SKIPPED: mandoc is not installed (apt-get install mandoc): the manual page is not checked');
if (!mandoc && process.env.CI !== undefined) throw new Error('mandoc is not installed');

describe('the documentation of the commands', () => {
  it('docs/reference/CLI.md has the present help of every command', () => {
    expectGenerated('docs/reference/CLI.md', 'help', commandReference());
  });

  it('the manual page has the same text', () => {
    expectGenerated('docs/postern-auditd.1', null, manual());
  });

  it('the manual page of the configuration has every key of its reference', () => {
    expectGenerated('docs/postern-auditd.yml.5', null, configManual());
  });

  it.skipIf(!mandoc).each(['1', 'yml.5'])('the manual page .%s is well formed', (section) => {
    const page = `docs/postern-auditd.${section}`;
    const { stdout } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', page], { encoding: 'utf8' });
    expect(stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date'))).toEqual([]);
  });

  it('CLI.md also has a command that has both an action and subcommands', () => {
    const pages = readFileSync('docs/reference/CLI.md', 'utf8');
    for (const name of ['export', 'export verify', 'archive verify'])
      expect(pages).toContain(`\n### ${name}\n`);
  });

  it('every command has a description, examples, and a line of help for each option', () => {
    const pages = commandReference().split(/^### /m).slice(1);
    expect(pages.length).toBeGreaterThan(10);
    for (const page of pages) expect(page).toMatch(/\nExamples:\n {2}\$ /);
  });

  it('the exit codes of the page are those of the command', () => {
    const codes = [...readFileSync('docs/reference/CLI.md', 'utf8').matchAll(/^\| (\d+) \|/gm)].map((match) =>
      Number(match[1]),
    );
    expect(codes).toEqual([0, 1, 2, 3, 78]);
  });
});
