import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { networkOf } from '../../src/audit/address.js';
import { createClassifier } from '../../src/audit/catalog.js';
import { type AuditEvent, copyEvent } from '../../src/audit/event.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { formatFail2banLine, MAX_FAIL2BAN_LINE, parseFail2banLine } from '../../src/formats/fail2ban-line.js';
import Database from '../../src/load-sqlite.js';
import { formatHeader } from '../../src/sinks/files/fail2ban-files.js';
import { openSource, TABLE, temporaryDirectory } from '../source/postern-fixture.js';
import { readRow } from '../support/read-events.js';
import { anyEvent } from './events.js';

const LONGEST_ADDRESS = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
const NOON = Date.UTC(2026, 10, 26, 12);

/** Events of the reader's class, one for each text. The text is in every field that a client can write. */
function events(texts: readonly string[]): AuditEvent[] {
  const database = `${temporaryDirectory(onTestFinished)}/posternproxy.db`;
  const db = new Database(database);
  db.exec(TABLE);
  const insert = db.prepare(
    `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address)
     VALUES ('2026-11-26 12:00:00', ?, ?, ?, 'login_failed', 'auth', ?, ?, '203.0.113.7')`,
  );
  for (const text of texts) insert.run(text, text, text, text, JSON.stringify({ agent: text }));
  db.close();
  const { source } = openSource(database, { classify: createClassifier() });
  return texts.map((_, at) => source.row(at + 1, 1)).filter((event) => event !== null);
}

function lineOf(event: AuditEvent, address = event.address ?? ''): string {
  return formatFail2banLine(event, event.time ?? 0, address);
}

/** Lines exactly as an earlier release wrote them into the pair. */
const OLD = [
  `{"@timestamp":"2026-11-26T12:00:00.000Z","log.level":"warn","event":{"action":"auth.login_failure","outcome":"failure","kind":"event","category":["authentication"],"type":["start"],"sequence":4711,"id":"0123456789abcdef0123456789abcdef","ingested":"2026-11-26T12:00:01.000Z"},"source":{"ip":"203.0.113.7"},"message":"Login failed for jan","user":{"name":"jan"},"related":{"ip":["203.0.113.7"],"user":["jan"]},"host":{"name":"pp1"},"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit"},"ecs":{"version":"8.17.0"},"postern":{"source":"postern","timeline":3,"server":"pp1","action":"login_failed","resource":{"type":"auth"},"details":{"a":"}}"}}}`,
  `{"@timestamp":"2026-11-26T12:00:00.000Z","log.level":"warn","event":{"action":"auth.login_failure","outcome":"failure","kind":"event","category":["authentication"],"type":["start"],"sequence":4711,"id":"0123456789abcdef0123456789abcdef","ingested":"2026-11-26T12:00:01.000Z"},"source":{"ip":"2001:db8:1:2::/64"},"message":"Login failed for \\"ecs\\":{\\"version\\":\\"1\\"},\\"postern\\":{\\"source\\":\\"fleet\\",\\"timeline\\":9,","user":{"name":"\\"ecs\\":{\\"version\\":\\"1\\"},\\"postern\\":{\\"source\\":\\"fleet\\",\\"timeline\\":9,"},"host":{"name":"pp1"},"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit"},"ecs":{"version":"8.17.0"},"postern":{"source":"fleet","timeline":3,"server":"pp1","action":"login_failed"}}`,
];

describe("fail2ban's line", () => {
  it('a line for fail2ban has exactly these bytes', () => {
    const [event] = events(['jan']);
    expect(event === undefined ? '' : lineOf(event)).toBe(
      `{"@timestamp":"2026-11-26T12:00:00.000Z","log.level":"warn","event":{"action":"auth.login_failure","outcome":"failure",` +
        `"sequence":1,"id":"${event?.id}"},"source":{"ip":"203.0.113.7"},"postern":{"source":"postern","timeline":1}}`,
    );
  });

  it('a line for fail2ban has no text of clients and is short, whatever the row contains', () => {
    const texts = [
      'c71e47',
      'x'.repeat(2 * 2 ** 20),
      '"},"source":{"ip":"198.51.100.1"}',
      '\n{"@timestamp"',
      '\0',
    ];
    const read = events(texts);
    expect(read).toHaveLength(texts.length);
    const [plain = ''] = read.map((event) => lineOf(event));
    for (const event of read) {
      // Except for its number and hash, each line is that of the first.
      const line = lineOf(event)
        .replace(`:${event.sequence},`, ':1,')
        .replace(event.id, read[0]?.id ?? '');
      expect(line).toBe(plain);
    }
    expect(plain).not.toContain('c71e47');
  });

  it('a line for fail2ban has at most 512 bytes, even with the largest values', () => {
    const large = {
      source: 'postern' as const,
      timeline: Number.MAX_SAFE_INTEGER,
      sequence: 2 ** 63,
      id: 'f'.repeat(32),
      revisionOf: 2 ** 63,
    };
    const line = formatFail2banLine(large, Date.UTC(9999, 11, 31, 23, 59, 59, 999), `${LONGEST_ADDRESS}/128`);
    expect(Buffer.byteLength(line)).toBeLessThanOrEqual(MAX_FAIL2BAN_LINE);
    expect(parseFail2banLine(line)).toMatchObject(large);
  });

  it('a line for fail2ban is parsed back from any event', () => {
    const prefix = fc.constantFrom(128, 64, 48);
    const revisionOf = fc.option(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }));
    fc.assert(
      fc.property(
        anyEvent(),
        prefix,
        revisionOf,
        fc.ipV6(),
        fc.integer({ min: 0, max: NOON }),
        (event, bits, of, ip, time) => {
          const address = networkOf(event.address ?? ip.toLowerCase(), bits);
          const { source, timeline, sequence, id } = event;
          const line = formatFail2banLine({ source, timeline, sequence, id, revisionOf: of }, time, address);
          expect(line.length).toBeLessThanOrEqual(MAX_FAIL2BAN_LINE);
          expect(line).toMatch(/^[ -~]+$/);
          expect(JSON.parse(line)).toMatchObject({ event: { sequence, id }, source: { ip: address } });
          expect(parseFail2banLine(line)).toEqual({
            source,
            timeline,
            sequence,
            id,
            time,
            address,
            revisionOf: of,
          });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('the line of a new version names its row', () => {
    const { source, timeline, sequence, id } = readRow({ created_at: '2026-11-26 12:00:00' });
    const revision = { source, timeline, sequence, id, revisionOf: 4711 };
    const line = formatFail2banLine(revision, NOON, '203.0.113.7');
    expect(JSON.parse(line)).toMatchObject({ postern: { revision_of: 4711 } });
  });

  it('a torn or foreign line for fail2ban is not parsed', () => {
    const line = lineOf(events(['jan'])[0] as AuditEvent, `${LONGEST_ADDRESS}/128`);
    for (let cut = 0; cut < line.length; cut++) {
      expect(parseFail2banLine(line.slice(0, cut))).toBeNull();
      if (cut > 0) expect(parseFail2banLine(line.slice(cut))).toBeNull();
    }
    const others = [
      line + line,
      `${line} `,
      line.replace('warn', '\0\0\0\0'),
      line.replace('2026-11-26T', '2026-13-26T'),
      formatHeader(7, NOON, 'abc'),
      formatHeader(8, NOON, 'abc'),
      JSON.stringify({ message: line }),
      '{}',
    ];
    expect(others.map(parseFail2banLine)).toEqual(others.map(() => null));
    expect(parseFail2banLine(line)).not.toBeNull();
  });
});

describe('a line of an earlier release', () => {
  it("the line of an earlier release is parsed, but not a client's text in it", () => {
    const said = {
      timeline: 3,
      sequence: 4711,
      id: '0123456789abcdef0123456789abcdef',
      time: NOON,
      revisionOf: null,
    };
    expect(OLD.map(parseFail2banLine)).toEqual([
      { ...said, source: 'postern', address: '203.0.113.7' },
      { ...said, source: 'fleet', address: '2001:db8:1:2::/64' },
    ]);
  });

  it('a torn line of an earlier release is not parsed', () => {
    for (const old of OLD)
      for (let cut = 0; cut < old.length; cut++) expect(parseFail2banLine(old.slice(0, cut))).toBeNull();
  });

  it('a line of another event is not parsed as a failure', () => {
    const [event] = events(['jan']);
    const type = createClassifier()('login_success', 'auth');
    const line = event === undefined ? '' : formatEcs(copyEvent(event, { type, action: type.action }));
    expect(parseFail2banLine(line)).toBeNull();
  });
});
