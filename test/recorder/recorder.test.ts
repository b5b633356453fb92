import { beforeEach, describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import { parseTime } from '../../src/audit/time.js';
import { AuditdError } from '../../src/errors.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable, createRecorder, type NewEntry } from '../../src/recorder/recorder.js';

const NOW = Date.UTC(2026, 10, 22, 20, 21, 7, 890);
let db: Database;

beforeEach(() => {
  db = new Database(':memory:');
  createAuditTable(db);
});

function row(id: number): Record<string, unknown> {
  return db.prepare('SELECT * FROM audit_log WHERE id = ?').get(id) as Record<string, unknown>;
}

function recorded(entry: NewEntry): Record<string, unknown> {
  return row(createRecorder(db, { clock: () => NOW }).record(entry));
}

function usage(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof AuditdError && error.code === 'USAGE') return error.message;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('a recorded entry', () => {
  it('is a row in the form in which Postern writes it', () => {
    const entry = {
      action: 'proxy_host.update',
      user: { id: 7, name: 'jan', email: 'jan@example.org' },
      resourceId: 12,
      details: { before: { port: 80 }, after: { port: 81 } },
      address: '203.0.113.7',
      server: 'pp2',
    };
    expect(recorded(entry)).toEqual({
      id: 1,
      created_at: '2026-11-22 20:21:07',
      user_id: 7,
      user_name: 'jan',
      user_email: 'jan@example.org',
      action: 'update',
      resource_type: 'proxy_host',
      resource_id: '12',
      details: '{"before":{"port":80},"after":{"port":81}}',
      ip_address: '203.0.113.7',
      server: 'pp2',
    });
  });

  it('needs only an action', () => {
    const nothing = { user_id: null, user_name: null, user_email: null, resource_id: null, details: null };
    expect(recorded({ action: 'daemon.start' })).toMatchObject({
      ...nothing,
      ip_address: null,
      server: null,
    });
    expect(recorded({ action: 'auth.logout', user: null, details: null })).toMatchObject(nothing);
  });

  it.each(catalog.map(({ action }) => action))('reads back as %s', (action) => {
    const classify = createClassifier();
    for (const resourceType of [undefined, 'user', 'proxy_host', 'something else']) {
      const read = recorded({ action, ...(resourceType === undefined ? {} : { resourceType }) });
      expect(classify(String(read.action), String(read.resource_type)).action).toBe(action);
      if (resourceType !== undefined) expect(read.resource_type).toBe(resourceType);
    }
  });

  it('has the time that it is given, in whole seconds', () => {
    for (const time of [0, NOW, Date.UTC(9999, 11, 31)]) {
      expect(parseTime(recorded({ action: 'auth.logout', time }).created_at)).toBe(
        Math.floor(time / 1_000) * 1_000,
      );
    }
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY, Date.UTC(10_000, 0)])(
    'has no time such as %d',
    (time) => {
      expect(usage(() => recorded({ action: 'auth.logout', time }))).toContain(`${time} is not a time`);
    },
  );

  it('has no secrets', () => {
    const { details } = recorded({ action: 'user.create', details: { name: 'jan', password: 'hunter2' } });
    expect(details).toBe('{"name":"jan","password":"***"}');
    const own = createRecorder(db, { redact: { keys: ['note'], mode: 'mask' } });
    expect(row(own.record({ action: 'user.create', details: { note: 'x' } })).details).toBe('{"note":"***"}');
  });

  it('has the server of the recorder, unless it names one', () => {
    const recorder = createRecorder(db, { server: 'pp1' });
    expect(row(recorder.record({ action: 'auth.logout' })).server).toBe('pp1');
    expect(row(recorder.record({ action: 'auth.logout', server: 'pp2' })).server).toBe('pp2');
  });

  it('is written into any given table, with the columns that it has', () => {
    db.exec('CREATE TABLE "my log" (id INTEGER PRIMARY KEY, Created_At TEXT, action TEXT, details TEXT)');
    createRecorder(db, { table: 'my log', clock: () => NOW }).record({
      action: 'auth.logout',
      address: '::1',
    });
    expect(db.prepare('SELECT * FROM "my log"').all()).toEqual([
      { id: 1, Created_At: '2026-11-22 20:21:07', action: 'logout', details: null },
    ]);
  });

  it('has its id as a number, even if the caller uses bigints', () => {
    db.defaultSafeIntegers(true);
    expect(createRecorder(db).record({ action: 'auth.logout' })).toBe(1);
  });
});

describe('the transaction of the caller', () => {
  it('rolls the entry back', () => {
    const recorder = createRecorder(db);
    db.exec('CREATE TABLE host (name TEXT)');
    const change = db.transaction((fails: boolean) => {
      db.exec("INSERT INTO host VALUES ('a')");
      recorder.record({ action: 'proxy_host.create' });
      if (fails) throw new Error('no');
    });
    expect(() => change(true)).toThrow('no');
    expect(
      db.prepare('SELECT (SELECT count(*) FROM host) + (SELECT count(*) FROM audit_log)').pluck().get(),
    ).toBe(0);
    change(false);
    expect(
      db.prepare('SELECT (SELECT count(*) FROM host) + (SELECT count(*) FROM audit_log)').pluck().get(),
    ).toBe(2);
  });

  it('is neither begun nor ended by the recorder', () => {
    const recorder = createRecorder(db);
    db.exec('BEGIN');
    recorder.record({ action: 'auth.logout' });
    expect(db.inTransaction).toBe(true);
    db.exec('ROLLBACK');
    expect(db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(0);
  });
});

describe('an entry that cannot be recorded', () => {
  it.each([
    ['auth.login_failed', 'auth.login_failure'],
    ['proxy_hots.update', 'proxy_host.update'],
    ['Certificate.Renew', 'certificate.renew'],
  ])('%s is refused, and %s named', (action, near) => {
    expect(usage(() => recorded({ action }))).toBe(
      `The catalog has no action "${action}". Did you mean ${near}?`,
    );
  });

  it('is refused without a suggestion if no name is similar', () => {
    expect(usage(() => recorded({ action: 'x\n' }))).toBe(
      'The catalog has no action "x\\n". See docs/reference/EVENTS.md, which lists them all',
    );
  });

  it('is refused if JSON cannot hold it, and nothing is written', () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    for (const details of [cycle, { big: 1n }]) {
      expect(usage(() => recorded({ action: 'setting.update', details }))).toContain(
        'details of setting.update',
      );
    }
    expect(db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(0);
  });

  it.each([
    ['nowhere', /no table nowhere.*createAuditTable/],
    ['sqlite_sequence', /no column created_at/],
  ])('is known at once of table %s', (table, message) => {
    expect(usage(() => createRecorder(db, { table }))).toMatch(message);
  });
});
