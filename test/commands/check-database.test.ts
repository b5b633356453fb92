import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { inspectDatabase } from '../../src/commands/check/database.js';
import { config } from '../../src/config/schema.js';
import type { Finding } from '../../src/sinks/sink.js';
import { Tables, type TestRow } from '../query/tables.js';

let tables: Tables;
beforeEach(() => {
  tables = new Tables();
});
afterEach(() => tables.remove());

/** What check says of the table besides that it can be read. */
function found(aliases: Record<string, string[]> = {}): Finding[] {
  const auth = { type: 'fail2ban', directory: join(tables.directory, 'auth') };
  const settings = { server: 'here', source: { database: tables.database, aliases }, sinks: { auth } };
  return inspectDatabase(config.parse(settings)).slice(1);
}

function insert(count: number, row: TestRow): void {
  const created = new Date().toISOString();
  tables.insert(
    Array.from({ length: count }, (_, n) => ({ created_at: created, ip_address: `203.0.113.${n}`, ...row })),
  );
}

it('check names actions that look like failed logins but are unknown', () => {
  insert(4, { action: 'auth_denied', resource_type: 'account' });
  insert(5, { action: 'wrong password!', resource_type: 'auth' });
  insert(20, { action: 'backup_failed', resource_type: 'backup' });
  insert(2, { action: 'token_denied', resource_type: 'api' });
  expect(found()).toEqual([
    {
      level: 'error',
      what: 'recent rows have actions that look like failed logins but are not known as such, so they are not reported to fail2ban: "wrong password!" (5), "auth_denied" (4)',
      next: 'if they are failed logins, set source.aliases: { auth.login_failure: ["wrong password!"] }; docs/reference/EVENTS.md lists the known words',
    },
  ]);
  insert(1, { action: 'login_failed', resource_type: 'auth' });
  expect(found()).toMatchObject([{ level: 'warning' }]);
  expect(found({ 'auth.login_failure': ['auth_denied', 'wrong password!'] })).toMatchObject([
    { level: 'ok', what: expect.stringContaining('10 failed logins') },
  ]);
});

it('actions that may be about a login are not an error on a host without failed logins', () => {
  insert(4, { action: 'log.export_failed', resource_type: 'system' });
  insert(4, { action: 'certificate_signing_failed', resource_type: 'certificate' });
  expect(found()).toMatchObject([
    { level: 'warning', what: expect.stringContaining('"log.export_failed" (4)') },
  ]);
});

it('check warns when all failures come from the proxy in front, whose ban would lock out everyone', () => {
  insert(12, { action: 'login_failed', resource_type: 'auth', ip_address: '172.18.0.1' });
  insert(12, { action: 'login_failed', resource_type: 'auth', ip_address: '203.0.113.7' });
  expect(found()).toEqual([
    {
      level: 'warning',
      what: "12 of 24 failed logins came from 172.18.0.1, a container bridge: Postern does not see its clients' addresses",
      next: expect.stringContaining('A ban of 172.18.0.1 would lock out everyone behind it'),
    },
  ]);
});
