import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkLogFiles } from '../../src/fail2ban/check-log-files.js';
import { PAIR } from '../../src/sinks/files/fail2ban-files.js';

let directory: string;
let first: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pa-pair-files-'));
  first = join(directory, PAIR[0]);
  execFileSync('sh', ['fail2ban/postern-auditd-log-files', directory]);
});
afterEach(() => rmSync(directory, { recursive: true }));

const errors = () => checkLogFiles(directory).map(({ level, what }) => `${level}: ${what}`);

describe('what check sees of the files that fail2ban opens', () => {
  it('finds nothing wrong in files of the boot or the daemon, and nothing without a directory', () => {
    expect(errors()).toEqual([]);
    expect(checkLogFiles(join(directory, 'nowhere'))).toEqual([]);
  });

  it('finds a pipe, on which fail2ban would block', () => {
    rmSync(first);
    execFileSync('mkfifo', [first]);
    expect(errors()).toEqual([
      `error: ${first} is a pipe, on which fail2ban blocks at its next start, with all its jails`,
    ]);
    // The next step that it names does away with it.
    execFileSync('sh', ['fail2ban/postern-auditd-log-files', directory], { stdio: 'ignore' });
    expect(errors()).toEqual([]);
  });

  it('finds a link, a missing file, and a file that others may write', () => {
    rmSync(first);
    symlinkSync('/etc/hostname', first);
    rmSync(join(directory, PAIR[1]));
    expect(errors()).toEqual([
      `error: ${first} is a link, which fail2ban follows as root`,
      expect.stringContaining(`error: ${directory}/${PAIR[1]} is missing`),
    ]);
    rmSync(first);
    writeFileSync(first, '');
    chmodSync(first, 0o666);
    expect(errors()[0]).toContain(`warning: ${first}: everybody may write to it`);
  });

  it.skipIf(process.geteuid?.() !== 0)('finds a file of another user', () => {
    chownSync(first, 54_321, 54_321);
    expect(errors()).toEqual([expect.stringContaining(`warning: ${first}: it belongs to uid 54321`)]);
  });
});
