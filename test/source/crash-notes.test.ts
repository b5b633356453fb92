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

describe('the crash note of a row', () => {
  test('a row with two crashes is quarantined for good', () => {
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

  test('a note does not blame rows that were processed successfully, or other rows', () => {
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

  describe('the crash note of several rows', () => {
    const some = { source: 'postern', first: 5, last: 20 } as const;
    /** A process that dies somewhere among these. */
    const dieAmong = (notes: RowNotes) => notes.begin(some);

    test('a note of several rows counts as one crash of the row at which the process crashes next', () => {
      const { path, start } = place();
      dieAmong(start());
      const second = start();
      expect([second.careful, second.found]).toEqual([true, null]);
      second.attempt(row(20), () => undefined); // the head is read from the newest row down
      dieAt(second, row(7), path);
      expect(start().found).toMatchObject({ ...row(7), deaths: 2 });
    });

    test('a note of several rows alone quarantines nothing, however many crashes there are', () => {
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
    ])('a note of several rows and one %s blame none', (_, other) => {
      const { path, start } = place();
      dieAmong(start());
      dieAt(start(), other, path);
      expect(start().found).toBeNull();
    });

    test('a note of several rows blames none after they are processed', () => {
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

    test('a note of several rows is kept for the rows that neither of two readers has reached', () => {
      const { path, start } = place();
      dieAmong(start());
      const second = start();
      for (const n of [3, 5, 6]) second.attempt(row(n), () => undefined); // the walk, from the lowest
      second.end();
      for (let n = 20; n > 7; n--) second.attempt(row(n), () => undefined); // the head, from the newest
      dieAt(second, row(7), path);
      expect(start().found).toMatchObject({ ...row(7), deaths: 2 });
    });

    test('a note of several rows blames none after one reader has passed them all, though ids are missing', () => {
      const { path, start } = place();
      dieAmong(start());
      const second = start();
      for (const n of [4, 6, 9, 21]) second.attempt(row(n), () => undefined);
      dieAt(second, row(9), path);
      expect(start().found).toBeNull();
    });

    test("a note of several rows does not replace a row's own note", () => {
      const { path, start } = place();
      dieAt(start(), row(7), path);
      dieAmong(start());
      dieAt(start(), row(7), path);
      expect(start().found).toMatchObject({ ...row(7), deaths: 2 });
    });
  });

  test('rows are noted one by one after a crash, not after an orderly stop; a crash between rows names none', () => {
    const { start } = place();
    const first = start();
    expect(first.careful).toBe(false);
    first.attempt(row(1), () => undefined);
    const second = start();
    expect([second.careful, second.found]).toEqual([true, null]);
    second.close();
    expect(start().careful).toBe(false);
  });

  test('the note is empty again after work that throws', () => {
    const { path, start } = place();
    const notes = start();
    const fails = () => {
      throw new Error('a defect');
    };
    expect(() => notes.attempt(row(3), fails)).toThrow('a defect');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ state: 'running', row: null });
  });

  test('the note is not rewritten for the rows tried last', () => {
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

  test('an invalid note counts as none', () => {
    const { path, start } = place();
    for (const text of ['', '{', 'null', '[]', '{"state":"running"}', '\0'.repeat(512)]) {
      writeFileSync(path, text);
      const notes = start();
      expect([notes.found, notes.careful]).toEqual([null, false]);
      notes.close();
    }
  });

  test("work is done even if the note can't be written", () => {
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
