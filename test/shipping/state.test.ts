import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { takeLock } from '../../src/shipping/lock.js';
import { STATE_VERSION, State } from '../../src/shipping/state.js';
import { VERSION } from '../../src/version.js';
import { compiled, removeCompiled } from '../support/compiled.js';
import { inAnotherProcess } from '../support/sqlite-child.js';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-state-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const row = (sequence: number) => ({
  sequence,
  id: sequence.toString(16).padStart(32, '0').split('').reverse().join(''),
});

describe('state.db', () => {
  it('state.db keeps its source id and its key across a restart, and is not readable by other users', () => {
    const first = new State(directory);
    const { sourceId } = first;
    const key = first.hmacKey.toString('hex');
    expect(first.fresh).toBe(true);
    first.close();
    const second = new State(directory);
    expect(second.sourceId).toBe(sourceId);
    expect(second.hmacKey.toString('hex')).toBe(key);
    expect(second.fresh).toBe(false);
    second.close();
    expect(statSync(join(directory, 'state.db')).mode & 0o007).toBe(0);
  });

  it('a state.db of a newer version is rejected with the next step', () => {
    new State(directory).close();
    const db = new Database(join(directory, 'state.db'));
    db.pragma(`user_version = ${STATE_VERSION + 1}`);
    db.close();
    expect(() => new State(directory)).toThrow(
      `state.db was written by a newer postern-auditd, ${VERSION} (version ${STATE_VERSION + 1} of state.db; this is postern-auditd ${VERSION}, which knows ${STATE_VERSION}). Install that version or a later one again`,
    );
    const copy = join(directory, `state.db.v${STATE_VERSION}`);
    writeFileSync(copy, '');
    expect(() => new State(directory)).toThrow(`put back the copy ${copy} of `);
    // What is left out by a program that does not say who it is.
    const older = new Database(join(directory, 'state.db'));
    older.prepare("DELETE FROM meta WHERE key = 'program'").run();
    older.close();
    expect(() => new State(directory)).toThrow('a newer postern-auditd (version');
  });

  it('a state.db that is not a database is rejected by name', () => {
    writeFileSync(join(directory, 'state.db'), 'x'.repeat(5_000));
    expect(() => new State(directory)).toThrow(/state\.db can't be used.*move it away/);
  });

  it('a failed transaction reverts the values in memory, too', () => {
    const state = new State(directory);
    state.timelines.begin('postern', 1, 'test');
    state.fingerprints.record('postern', 1, [row(1), row(2)]);
    expect(() =>
      state.transaction(() => {
        throw new Error('disk full');
      }),
    ).toThrow('disk full');
    expect(state.timelines.current('postern')?.id).toBe(0);
    state.transaction(() => undefined);
    expect(state.timelines.current('postern')).toEqual({
      timeline: 1,
      id: 2,
      fingerprint: row(2).id.slice(0, 16),
    });
    state.close();
  });
});

describe('rows recorded in a transaction', () => {
  it('rows recorded in a transaction are saved with their cursor, and found after a restart', () => {
    const state = new State(directory);
    state.timelines.begin('postern', 1, 'test');
    state.transaction(() => {
      state.fingerprints.record('postern', 1, [row(6), row(7)]);
      state.cursors.set('audit', 'postern', 1, 7);
    });
    const prints = new Set([row(6), row(7)].map(({ id }) => id.slice(0, 16)));
    expect(state.deliveredEarlier('audit', 'postern', 2, 1, 7)).toEqual(prints);
    state.db.close(); // as if killed: nothing is written at the end
    const next = new State(directory);
    expect(next.deliveredEarlier('audit', 'postern', 2, 1, 7)).toEqual(prints);
    next.close();
  });

  it('rows recorded in a failed transaction stay in memory, and the next one writes them once', () => {
    const state = new State(directory);
    state.timelines.begin('postern', 1, 'test');
    const record = () => state.fingerprints.record('postern', 1, [row(1)]);
    expect(() =>
      state.transaction(() => {
        record();
        throw new Error('disk full');
      }),
    ).toThrow('disk full');
    expect(state.fingerprints.last('postern', 1)).toBe(1);
    state.transaction(() => undefined);
    const found: number[] = [];
    state.fingerprints.each('postern', 1, 1, 9, (id) => found.push(id));
    expect(found).toEqual([1]);
    state.close();
  });
});

describe('another program that reads state.db', () => {
  const look = () => inAnotherProcess(join(directory, 'state.db'), 'SELECT up_to FROM cursor');

  /** What is committed after a look is seen by the next one: the WAL is still the one that the name leads to. */
  function expectKept(state: State): void {
    for (const upTo of [100, 5_000, 9_000]) {
      state.transaction(() => state.cursors.set('audit', 'postern', 1, upTo));
      expect(look()).toBe(`${upTo}\n`);
    }
  }

  it('another program that reads state.db undoes no commit, from the first start', () => {
    const state = new State(directory);
    expectKept(state);
    state.close();
    expect(readdirSync(directory)).toEqual(['state.db']);
  });

  it('another reader undoes no commit after a migration, which leaves a copy of the old state.db', () => {
    const old = new State(directory);
    const { sourceId } = old;
    old.db.exec(`DROP TABLE token; DROP INDEX audit_log_revision_of; ALTER TABLE audit_log DROP COLUMN revision_of;
      ALTER TABLE audit_log DROP COLUMN revised_action; DROP TABLE recent; DROP TABLE revision; DROP TABLE original; DROP TABLE accounted;
      PRAGMA user_version = 1`);
    old.close();
    const path = join(directory, 'state.db.v1');
    writeFileSync(path, 'of an attempt that failed', { mode: 0o644 });
    const state = new State(directory);
    expectKept(state);
    state.close();
    expect(statSync(path).mode & 0o777).toBe(0o640);
    const copy = new Database(path, { readonly: true });
    expect(copy.pragma('user_version', { simple: true })).toBe(1);
    expect(copy.prepare("SELECT value FROM meta WHERE key = 'source_id'").pluck().get()).toBe(sourceId);
    copy.close();
  });
});

describe('fingerprints', () => {
  it('fingerprints are found, whatever the gaps and the sizes of the batches', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 300 }), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.array(fc.boolean()),
        (batches, flushes) => {
          const state = new State(mkdtempSync(join(directory, 'f-')));
          state.timelines.begin('postern', 1, 'test');
          const all: number[] = [];
          let id = 0;
          batches.forEach((steps, at) => {
            const rows = steps.map((step) => {
              id += step;
              return row(id);
            });
            all.push(...rows.map(({ sequence }) => sequence));
            state.fingerprints.record('postern', 1, rows);
            if (flushes[at] !== false) state.transaction(() => undefined);
          });
          const before = all.at(Math.floor(all.length / 2)) ?? 0;
          expect(state.fingerprints.of('postern', 1, before)).toBe(row(before).id.slice(0, 16));
          state.transaction(() => undefined);
          const found: number[] = [];
          state.fingerprints.each('postern', 1, 3, id - 1, (one, print) => {
            expect(print).toBe(row(one).id.slice(0, 16));
            found.push(one);
          });
          expect(found).toEqual(all.filter((one) => one >= 3 && one <= id - 1));
          expect(state.fingerprints.last('postern', 1)).toBe(id);
          expect(state.fingerprints.of('postern', 1, id + 1)).toBeNull();
          expect(state.fingerprints.of('postern', 2, before)).toBeNull();
          state.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('the lock', () => {
  afterAll(removeCompiled);

  it('the lock excludes another process, even if that one loses track of it, and is released by a crash', async () => {
    const script = `import { takeLock } from ${JSON.stringify(join(compiled(), 'shipping/lock.js'))};
      takeLock(${JSON.stringify(directory)}); gc(); console.log('held'); setInterval(() => undefined, 1000);`;
    const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(() => takeLock(directory)).toThrow(/Another postern-auditd works with .*systemctl stop/);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    takeLock(directory).release();
    expect(existsSync(join(directory, 'lock.db'))).toBe(true);
  });

  it('the lock reports what is wrong with an unusable directory', () => {
    writeFileSync(join(directory, 'file'), '');
    expect(() => takeLock(join(directory, 'file'))).toThrow(/state directory .*file can't be used/);
  });
});
