import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readReport } from '../../src/commands/setup/report.js';
import { frontOf } from '../../src/front.js';
import { run } from './cli.js';

describe('the front of an installation', () => {
  let base: string;
  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'pa-front-'));
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  it.each([
    ['debian', 'debian'],
    ['container\n', 'container'],
    ['installer', 'installer'],
  ])('the file front with %j says %s', (text, expected) => {
    writeFileSync(join(base, 'front'), text);
    expect(frontOf(base)).toBe(expected);
  });

  it('without the file the place of the program decides', () => {
    expect(frontOf('/usr/lib/postern-auditd')).toBe('debian');
    expect(frontOf('/opt/postern-auditd')).toBe('installer');
    const clone = join(base, 'clone');
    mkdirSync(join(clone, 'src'), { recursive: true });
    expect(frontOf(clone)).toBe('source');
    writeFileSync(join(clone, 'front'), 'nothing of these');
    expect(frontOf(clone)).toBe('source');
  });
});

it('setup does not run from a clone, and names install.sh', () => {
  const { code, err } = run(['setup']);
  expect([code, err]).toEqual([
    1,
    expect.stringContaining('is not installed. Install it with: sudo ./install.sh'),
  ]);
});

describe('the JSON of a setup', () => {
  it('has changes, what stays, warnings of several lines and messages', () => {
    const out = [
      "Postern's database is /var/lib/posternproxy/posternproxy.db",
      '  unchanged  user postern-auditd',
      '  done       write /etc/postern-auditd/config.yml',
      '  would      load the jail posternproxy into fail2ban',
      '  kept       /var/lib/postern-auditd/archive',
    ];
    const err = 'warning: one\nits second line\nwarning: two\n';
    expect(readReport(`${out.join('\n')}\n`, err, 0)).toEqual({
      ok: true,
      exit_code: 0,
      changes: ['write /etc/postern-auditd/config.yml', 'load the jail posternproxy into fail2ban'],
      unchanged: ['user postern-auditd'],
      messages: [
        "Postern's database is /var/lib/posternproxy/posternproxy.db",
        'kept       /var/lib/postern-auditd/archive',
      ],
      warnings: ['one\nits second line', 'two'],
      error: null,
    });
  });

  it('has the reason of a failure and the next step', () => {
    const err =
      'warning: one\n\npostern-auditd setup: fail2ban does not run the jail\nas it says\n  next: see its log.\n\npostern-auditd setup stopped while setting up fail2ban.\n  Nothing has been changed.\n';
    const { ok, warnings, error } = readReport('', err, 1);
    expect([ok, warnings, error]).toEqual([
      false,
      ['one'],
      { what: 'fail2ban does not run the jail\nas it says', next: 'see its log.' },
    ]);
  });
});
