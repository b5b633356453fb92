import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { DETAILS_BUDGET } from '../../src/audit/long-details.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { bodies } from '../../src/formats/body-formats.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { parseEcsPosition } from '../../src/formats/ecs-position.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import { createOwnSource } from '../../src/source/auditd-source.js';
import { MOST_READ } from '../../src/source/oversized-values.js';
import { temporaryDirectory } from './postern-fixture.js';

function table() {
  const db = new Database(join(temporaryDirectory(onTestFinished), 'long.db'));
  onTestFinished(() => {
    db.close();
  });
  createAuditTable(db);
  const source = createOwnSource({
    db,
    table: 'audit_log',
    sourceId: '0'.repeat(32),
    classify: createClassifier({}),
    redact: createRedactor({ keys: [], mode: 'mask' }),
    clock: () => 1_763_842_860_000,
    server: 'here',
  });
  const insert = (details: string, column = 'details') =>
    Number(
      db
        .prepare(
          `INSERT INTO audit_log (created_at, action, ip_address, ${column}) VALUES ('2026-11-30 12:00:00', 'login_failed', '203.0.113.7', ?)`,
        )
        .run(details).lastInsertRowid,
    );
  const read = (id: number) => {
    const event = source.row(id, 1);
    if (event === null) throw new Error(`no row ${id}`);
    return event;
  };
  return { db, source, insert, read };
}

describe('a row that is too long', () => {
  test('a row that is too long ships without the unread part, marked in every format, and later rows are read', () => {
    const { source, insert, read } = table();
    const id = insert('x'.repeat(MOST_READ + 1));
    insert('{"a":1}');
    const mark = { timeline: 1, id: 0, fingerprint: null };
    const look = source.read({ mark, after: 0, maxRows: 100, maxBytes: 4 * 2 ** 20 });
    expect(look).toMatchObject({ state: 'reading', upTo: 2 });
    const event = read(id);
    const reason = `details of ${MOST_READ + 1} bytes is not read`;
    expect(event).toMatchObject({ address: '203.0.113.7', action: 'auth.login_failure', incomplete: reason });
    expect(JSON.parse(event.details ?? '')).toEqual({ left_out: reason });
    const line = formatEcs(event);
    expect(JSON.parse(line)).toMatchObject({ postern: { incomplete: reason } });
    expect(parseEcsPosition(line)).toMatchObject({ sequence: id, id: event.id });
    expect(bodies.cef.format(event, {})).toContain('cn3Label=Truncated cn3=1');
    expect(bodies.leef.format(event, {})).toContain('truncated=true');
    expect(JSON.parse(bodies.ocsf.format(event, {}))).toMatchObject({ metadata: { is_truncated: true } });
    expect(read(2).incomplete).toBeNull();
  });

  test('a value up to the limit is read, and a longer one is identified by its length', () => {
    const { db, insert, read } = table();
    const id = insert('x'.repeat(MOST_READ));
    const event = read(id);
    expect(event.incomplete).toContain('shortened');
    db.prepare('UPDATE audit_log SET details = details || ?').run('y');
    const longer = read(id).id;
    expect(longer).not.toBe(event.id);
    db.prepare('UPDATE audit_log SET details = details || ?').run('z');
    expect(read(id).id).not.toBe(longer);
  });

  test('a value that is too long in another column is named', () => {
    const { insert, read } = table();
    const event = read(insert('u'.repeat(MOST_READ + 5), 'user_name'));
    expect(event.user.name).toBeNull();
    expect(event.incomplete).toBe(`user_name of ${MOST_READ + 5} bytes is not read`);
  });

  test('long rows load at most the limit and one row into memory', () => {
    const { source, insert } = table();
    for (let n = 0; n < 40; n++) insert(`{"a":"${'x'.repeat(2 ** 20)}"}`);
    const mark = { timeline: 1, id: 0, fingerprint: null };
    const look = source.read({ mark, after: 0, maxRows: 100, maxBytes: 4 * 2 ** 20 });
    expect(look).toMatchObject({ state: 'reading', more: true });
    expect(look.state === 'reading' && look.events.length).toBeLessThanOrEqual(5);
  });
});

describe('details that are too long', () => {
  const long = 'a'.repeat(DETAILS_BUDGET);

  test('long details are shortened between values, and the rest is masked', () => {
    const { insert, read } = table();
    const details = {
      password: 'S3CRET',
      note: long,
      settings: [
        { name: 'smtp_password', value: 'S3CRET' },
        ...Array.from({ length: 5_000 }, (_, n) => ({ n })),
      ],
      url: 'https://user:S3CRET@host/',
      kept: 'as it is',
    };
    const event = read(insert(JSON.stringify(details)));
    const shown = JSON.parse(event.details ?? '') as Record<string, unknown>;
    expect(shown).toMatchObject({ password: '***', kept: 'as it is', url: 'https://user:***@host/' });
    expect(shown.note).toBe(`[left out: text of ${long.length} characters]`);
    expect(shown.settings).toMatchObject({ 0: { name: 'smtp_password', value: '***' } });
    expect(event.details).not.toContain('S3CRET');
    expect(event.details?.length).toBeLessThan(DETAILS_BUDGET);
    expect(event.incomplete).toMatch(/^details of \d+ characters are shortened$/);
  });

  test.each([
    ['text', `password=S3CRET ${long}`],
    ['JSON that is cut off', `{"password":"S3CRET","a":"${long}`],
    [
      'a million members',
      `{"password":"S3CRET",${Array.from({ length: 100_000 }, (_, n) => `"key ${n}":"S3CRET"`).join()}}`,
    ],
    ['a name without end', `{"${long}":"S3CRET"}`],
    ['deep nesting', `${'{"a":'.repeat(300_000)}"S3CRET"${'}'.repeat(300_000)}`],
    [
      'many long texts',
      JSON.stringify({ all: Array.from({ length: 900 }, () => `S3CRET ${'b'.repeat(8_000)}`) }),
    ],
  ])('long details of %s are omitted completely', (_, details) => {
    const { insert, read } = table();
    const event = read(insert(details));
    expect(event.details).not.toContain('S3CRET');
    expect(event.details).toContain('left out');
    expect(event.incomplete).not.toBeNull();
    expect(() => formatEcs(event)).not.toThrow();
  });
});
