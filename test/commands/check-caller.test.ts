import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { inspectDatabase } from '../../src/commands/check/database.js';
import { asDaemon, forCaller } from '../../src/commands/check/identity.js';
import { parseConfig } from '../../src/config/load.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import type { Finding } from '../../src/sinks/sink.js';

const daemon = { uid: 65_534, gid: 65_534, groups: [65_534] };
const findings: Finding[] = [
  { level: 'error', what: 'no way in', next: 'chmod', access: true },
  { level: 'error', what: 'no table' },
];

it('a finding from the missing rights of the caller is a warning to run check as root', () => {
  const told = forCaller({ installed: true, daemon }, findings, 1_000);
  expect(told).toEqual([
    {
      level: 'warning',
      what: 'not checked, as this user lacks the rights: no way in',
      next: expect.stringMatching(/^run postern-auditd check (with sudo|as root)/),
    },
    { level: 'error', what: 'no table' },
  ]);
});

it.each<[string, boolean, number]>([
  ['to root', true, 0],
  ['to the user of the daemon', true, daemon.uid],
  ['where no unit is installed: the caller may be who is to run it', false, 1_000],
])('the finding stays an error %s', (_, installed, caller) => {
  expect(forCaller({ installed, daemon: installed ? daemon : null }, findings, caller)).toEqual([
    { level: 'error', what: 'no way in', next: 'chmod' },
    { level: 'error', what: 'no table' },
  ]);
});

const isRoot = process.geteuid?.() === 0;
if (!isRoot) console.warn('SKIPPED check as the user of the daemon: it needs root');

it.skipIf(!isRoot)("check as root opens the database with the rights of the daemon's user", () => {
  const directory = mkdtempSync('/var/tmp/postern-check-');
  try {
    const database = join(directory, 'posternproxy.db');
    const db = new Database(database);
    createAuditTable(db);
    db.close();
    chmodSync(directory, 0o755);
    const { source, ...rest } = parseConfig(`source: { database: ${database} }`, 'c.yml');
    const look = () => asDaemon({ installed: true, daemon }, () => inspectDatabase({ source, ...rest }));
    chmodSync(database, 0o644);
    expect(look()[0]).toMatchObject({ level: 'ok' });
    chmodSync(database, 0o600);
    expect(look()).toEqual([
      {
        level: 'error',
        what: expect.stringMatching(/^no permission to read .*this is uid 65534\)$/),
        next: expect.stringContaining('install.sh --reconfigure'),
      },
    ]);
    expect(process.geteuid?.()).toBe(0);
    writeFileSync(join(directory, 'root'), ''); // still root
  } finally {
    rmSync(directory, { recursive: true });
  }
});
