import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClassifier } from '../../../src/audit/catalog.js';
import { createRedactor } from '../../../src/audit/redaction.js';
import { config } from '../../../src/config/schema.js';
import { testFilter } from '../../../src/fail2ban/client.js';
import { MAX_FAIL2BAN_LINE } from '../../../src/formats/fail2ban-line.js';
import Database from '../../../src/load-sqlite.js';
import { PAIR } from '../../../src/sinks/files/fail2ban-files.js';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import { openSource, reading, request, START, TABLE } from '../../source/postern-fixture.js';
import { installed } from '../../support/installed.js';
import { dependencies, fail2banConfig, NEVER, temporaryDirectory } from './files-fixture.js';

const ROWS = 40;
const MUCH = 2 * 2 ** 20;
const FILTERS = ['fail2ban/filter.d/posternproxy.conf', 'test/fail2ban/filters/earlier.conf'].map((name) =>
  path.resolve(name),
);

let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
});
afterEach(() => fs.rmSync(directory, { recursive: true }));

/** Rows of megabytes in a real table, each with an attack in every column that a client can write. */
function fill(database: string): string[] {
  const db = new Database(database);
  db.exec(TABLE);
  const insert = db.prepare(
    `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address)
     VALUES ('2026-11-26 12:00:00', ?, ?, ?, 'login_failed', 'auth', ?, ?, ?)`,
  );
  const victim = '"},"source":{"ip":"198.51.100.1"},"x":{"y":"';
  const attacks = [victim, `\n{"@timestamp":"2026-11-26T12:00:00.000Z"${victim}`, '"}', '\\', '\0', '\u2028'];
  const banned: string[] = [];
  for (let n = 1; n <= ROWS; n++) {
    const attack = attacks[n % attacks.length] ?? '';
    const text = attack.repeat(Math.ceil(MUCH / attack.length)).slice(0, MUCH);
    const address = n % 2 === 0 ? `203.0.113.${n}` : `2001:db8:${n.toString(16)}::7`;
    insert.run(attack, text, attack, attack, JSON.stringify({ agent: text }), address);
    banned.push(n % 2 === 0 ? address : `2001:db8:${n.toString(16)}::/64`);
  }
  db.close();
  return banned;
}

describe('rows of megabytes, hostile in all that a client can write', () => {
  it('hostile rows of megabytes become short lines without client text, which old and new filters match correctly', async () => {
    const database = path.join(directory, 'posternproxy.db');
    const banned = fill(database);
    const { source } = openSource(database, {
      classify: createClassifier(),
      redact: createRedactor({ keys: [], mode: 'mask' }),
    });
    const { deps } = dependencies();
    const auth = path.join(directory, 'auth');
    const sink = createFail2banSink(fail2banConfig(auth), config.parse({}).fail2ban, deps);
    await sink.open(null);
    for (let after = 0; after < ROWS; ) {
      const look = reading(source.read(request(START, { after })));
      await sink.deliver({ source: 'postern', timeline: 1, events: look.events, upTo: look.upTo }, NEVER);
      after = look.upTo;
    }
    await sink.close();

    const texts = PAIR.map((name) => fs.readFileSync(path.join(auth, name), 'utf8'));
    const lines = texts.flatMap((text) => text.split('\n').slice(1, -1));
    expect(lines).toHaveLength(ROWS);
    expect(Math.max(...lines.map((line) => Buffer.byteLength(line)))).toBeLessThanOrEqual(MAX_FAIL2BAN_LINE);
    const bytes = PAIR.reduce((sum, name) => sum + fs.statSync(path.join(auth, name)).size, 0);
    expect(bytes).toBeLessThan((ROWS + 2) * (MAX_FAIL2BAN_LINE + 1));
    expect(texts.join('')).not.toContain('198.51.100.1');
    // An ordinary row's line is of the same characters.
    expect(texts.join('')).toMatch(/^[ -~\n]*$/);
    if (!installed('fail2ban-regex', 'fail2ban')) return;
    for (const filter of FILTERS) expect(await testFilter(texts.join(''), filter)).toEqual(banned);
  });
});
