import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { RowNotes } from '../../src/source/crash-notes.js';
import type { NotedRow } from '../../src/source/quarantine.js';

function place() {
  const directory = mkdtempSync(join(tmpdir(), 'postern-notes-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  let saved: string | null = null;
  const start = () =>
    new RowNotes({
      directory,
      load: () => saved,
      save: (ids) => {
        saved = ids;
      },
      rehearse: () => undefined,
    });
  return { path: join(directory, 'row.note'), start };
}

const row = (n: number): NotedRow => ({ source: 'postern', row: String(n), id: String(n).padStart(32, '0') });

/** A process that dies at a row: what it has written is all that is left of it. */
function dieAt(notes: RowNotes, at: NotedRow, path: string): void {
  let note = '';
  notes.attempt(at, () => {
    note = readFileSync(path, 'utf8');
  });
  writeFileSync(path, note);
}

describe('the note of the row that is worked on', () => {
  test('quarantines the row of two deaths, for good', () => {
    const { path, start } = place();
    dieAt(start(), row(7), path);
    const second = start();
    expect([second.found, second.isQuarantined(row(7).id)]).toEqual([null, false]);
    dieAt(second, row(7), path);
    const third = start();
    expect(third.found).toMatchObject({ ...row(7), deaths: 2 });
    expect([third.isQuarantined(row(7).id), third.isQuarantined(row(8).id)]).toEqual([true, false]);
    third.close();
    const fourth = start();
    expect([fourth.found, fourth.isQuarantined(row(7).id)]).toEqual([null, true]);
  });

  test('says nothing of rows that were worked on with success, or of another one', () => {
    const { path, start } = place();
    dieAt(start(), row(7), path);
    const second = start();
    second.attempt(row(7), () => undefined);
    dieAt(second, row(7), path);
    const third = start();
    expect(third.found).toBeNull();
    dieAt(third, row(8), path);
    const fourth = start();
    expect(fourth.found).toBeNull();
    dieAt(fourth, row(7), path);
    expect(start().found).toBeNull();
  });

  describe('of rows that are worked on together', () => {
    const some = { source: 'postern', first: 5, last: 20 } as const;
    /** A process that dies somewhere among these. */
    const dieAmong = (notes: RowNotes) => notes.begin(some);

    test('counts as one death of the one among them at which the process dies next', () => {
      const { path, start } = place();
      dieAmong(start());
      const second = start();
      expect([second.careful, second.found]).toEqual([true, null]);
      second.attempt(row(20), () => undefined); // the head is read from the newest row down
      dieAt(second, row(7), path);
      expect(start().found).toMatchObject({ ...row(7), deaths: 2 });
    });

    test('alone quarantines nothing, however often it dies there', () => {
      const { start } = place();
      for (let deaths = 0; deaths < 5; deaths++) {
        const notes = start();
        expect(notes.found).toBeNull();
        dieAmong(notes);
      }
    });

    test.each([
      ['of another row', row(21)],
      ['of another source', { ...row(7), source: 'auditd' as const }],
    ])('says nothing %s', (_, other) => {
      const { path, start } = place();
      dieAmong(start());
      dieAt(start(), other, path);
      expect(start().found).toBeNull();
    });

    test('says nothing once they are done, or were worked on with success', () => {
      const { path, start } = place();
      const first = start();
      dieAmong(first);
      first.end();
      dieAt(start(), row(7), path);
      const third = start();
      expect(third.found).toBeNull();
      third.attempt(row(7), () => undefined);
      dieAmong(third);
      const fourth = start();
      for (let n = some.first; n <= some.last; n++) fourth.attempt(row(n), () => undefined);
      dieAt(fourth, row(7), path);
      expect(start().found).toBeNull();
    });

    test('leaves a row alone that was named for itself', () => {
      const { path, start } = place();
      dieAt(start(), row(7), path);
      dieAmong(start());
      dieAt(start(), row(7), path);
      expect(start().found).toMatchObject({ ...row(7), deaths: 2 });
    });
  });

  test('is careful after a death, not after an orderly end; a death between rows names none', () => {
    const { start } = place();
    const first = start();
    expect(first.careful).toBe(false);
    first.attempt(row(1), () => undefined);
    const second = start();
    expect([second.careful, second.found]).toEqual([true, null]);
    second.close();
    expect(start().careful).toBe(false);
  });

  test('is empty again behind work that throws', () => {
    const { path, start } = place();
    const notes = start();
    const fails = () => {
      throw new Error('a defect');
    };
    expect(() => notes.attempt(row(3), fails)).toThrow('a defect');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ state: 'running', row: null });
  });

  test('is not written again for the rows that were tried last', () => {
    const { start } = place();
    const notes = start();
    expect(notes.wasTried(row(1).id)).toBe(false);
    notes.attempt(row(1), () => undefined);
    expect(notes.wasTried(row(1).id)).toBe(true);
    for (let n = 2; n <= 300; n++) notes.attempt(row(n), () => undefined);
    expect([notes.wasTried(row(1).id), notes.wasTried(row(300).id)]).toEqual([false, true]);
    notes.close();
    expect(start().wasTried(row(300).id)).toBe(false);
  });

  test('that is no note is none', () => {
    const { path, start } = place();
    for (const text of ['', '{', 'null', '[]', '{"state":"running"}', '\0'.repeat(512)]) {
      writeFileSync(path, text);
      const notes = start();
      expect([notes.found, notes.careful]).toEqual([null, false]);
      notes.close();
    }
  });

  test('can not be written: the work is done all the same', () => {
    const notes = new RowNotes({
      directory: '/nonexistent/place',
      load: () => '{"no":"list"}',
      save: () => undefined,
      rehearse: () => undefined,
    });
    expect(notes.attempt(row(1), () => 'done')).toBe('done');
    notes.close();
  });
});
