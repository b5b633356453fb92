import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openSource, reading, request, START, temporaryDirectory } from './postern-fixture.js';

const BYTES = 520 * 2 ** 20;

/** What better-sqlite3 can't write, as it can't read it: V8 has no text of that length. */
const WRITE = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('''CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, created_at, user_id, user_name, user_email,
  action, resource_type, resource_id, details, ip_address, server)''')
row = "INSERT INTO audit_log (created_at, action, details, ip_address) VALUES ('2026-11-30 12:00:00', 'login_failed', %s, '203.0.113.7')"
db.execute(row % '\\'{"n":1}\\'')
db.execute(row % 'CAST(zeroblob(${BYTES}) AS TEXT)')
db.execute(row % '\\'{"n":3}\\'')
db.commit()
`;

test('a row with a text of 520 MiB ships without it, later rows are read, and the text is never loaded', () => {
  const database = join(temporaryDirectory(onTestFinished), 'posternproxy.db');
  execFileSync('python3', ['-c', WRITE, database], { stdio: 'inherit' });
  const { source } = openSource(database);
  const before = process.memoryUsage().rss;
  const { events, upTo, more } = reading(source.read(request(START)));
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 2 ** 20);
  expect({ upTo, more }).toEqual({ upTo: 3, more: false });
  expect(events.map(({ address }) => address)).toEqual(['203.0.113.7', '203.0.113.7', '203.0.113.7']);
  const reason = `details of ${BYTES} bytes is not read`;
  expect(events.map(({ incomplete }) => incomplete)).toEqual([null, reason, null]);
  expect(events[1]?.details).toBe(JSON.stringify({ left_out: reason }));
});
