import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { jailPath } from '../../src/commands/check/fail2ban.js';
import { bash } from '../install/bash.js';

it('the file of a jail is the one that install.sh writes, or one with its name', () => {
  const etc = mkdtempSync(join(tmpdir(), 'postern-jail-'));
  try {
    mkdirSync(join(etc, 'jail.d'));
    expect(jailPath('web', etc)).toBe(null);
    writeFileSync(join(etc, 'jail.d/web.conf'), '');
    expect(jailPath('web', etc)).toBe(join(etc, 'jail.d/web.conf'));
    const own = join(etc, bash('printf %s "$JAIL_FILE"'));
    writeFileSync(own, '');
    expect(jailPath('web', etc)).toBe(own);
  } finally {
    rmSync(etc, { recursive: true });
  }
});
