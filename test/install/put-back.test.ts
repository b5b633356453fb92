import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { bash } from './bash.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'postern-put-back-'));
  mkdirSync(join(home, 'opt/bin'), { recursive: true });
  // The previous version rejects a key that it does not know.
  writeFileSync(join(home, 'opt/bin/postern-auditd'), '#!/bin/sh\n! grep -q enabled "$3"\n', { mode: 0o755 });
  writeFileSync(join(home, 'config.before'), 'fail2ban: {}\n');
});
afterEach(() => rmSync(home, { recursive: true }));

it.each([
  ['restored if the previous version rejects it', 'fail2ban: { enabled: false }\n', 'fail2ban: {}\n'],
  ['kept if the previous version accepts it', 'fail2ban: { jail: other }\n', 'fail2ban: { jail: other }\n'],
])('a configuration that install.sh has changed is %s', (_, set, expected) => {
  const config = join(home, 'config.yml');
  writeFileSync(config, set);
  bash('PREFIX=$1/opt WORK=$1 CONFIG=$1/config.yml STAGE=$1/stage OLD=$1/old; put_back_program', {
    args: [home],
  });
  expect(readFileSync(config, 'utf8')).toBe(expected);
});

it('continues without manual pages if their directory can not be created', () => {
  mkdirSync(join(home, 'share'));
  symlinkSync('/nowhere/else', join(home, 'share/man'));
  const said = bash(
    'SHARE=$1/share DRY_RUN=no; write_file() { :; }; put_manual /dev/null "$(manual_at postern-auditd.1)" 2>&1; echo went on',
    { args: [home] },
  );
  expect(said).toBe(
    `warning: ${home}/share/man/man1/postern-auditd.1 is left out: its directory is read-only or can't be created\nwent on\n`,
  );
});
