import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AuditdError } from '../../src/errors.js';
import { QueryEngine } from '../../src/query/engine.js';
import type { Chunk } from '../../src/query/export.js';
import { EVERYTHING, type Filter } from '../../src/query/filter.js';
import { findEntry, type PageOptions } from '../../src/query/service.js';
import { continueComparison, limitComparison } from '../../src/retention/archive/comparison-cache.js';
import { removeArchives } from '../../src/retention/archive/expire.js';
import { ENDING } from '../retention/archive/compression.js';
import { removalOf } from '../retention/archive/table.js';
import { expectAll, idsOf } from './answers.js';
import { expected, row, sparse } from './model.js';
import { seconds, Tables, textOf } from './tables.js';

let tables: Tables;
let engine: QueryEngine;
beforeAll(() => {
  tables = new Tables();
  engine = new QueryEngine(tables.options());
});
beforeEach(() => tables.clear());
afterAll(() => {
  engine.close();
  tables.remove();
});

const ALL = { ...EVERYTHING, archives: true };

function remove(ids: readonly number[]): void {
  tables.postern.prepare(`DELETE FROM audit_log WHERE id IN (${ids.map(Number).join(', ')})`).run();
}

function next(chunks: Generator<Chunk, void>): string {
  const step = chunks.next();
  return step.done === true ? '' : textOf(step.value.bytes);
}

describe('an archive whose verification takes longer than a query may wait', () => {
  afterEach(() => limitComparison(null));

  /** Until there is an answer. @returns how often there was none, and what was said then */
  function tries<T>(work: () => T): { answer: T; said: string[] } {
    const said: string[] = [];
    for (;;) {
      limitComparison(0);
      try {
        return { answer: work(), said };
      } catch (error) {
        if (!(error instanceof AuditdError) || error.code !== 'ARCHIVE_UNREAD') throw error;
        said.push(error.message);
      }
    }
  }

  async function fill(): Promise<void> {
    const details = () => JSON.stringify({ noise: randomBytes(750_000).toString('base64') });
    tables.insert(Array.from({ length: 6 }, () => ({ details: details() })));
    await tables.archive([1, 2, 3, 4, 5, 6]);
    remove([1, 2, 3, 4, 5]);
  }

  const request = { page: 1, limit: 50, cursor: null, count: 'some', brief: 100, timeLimit: 60_000 } as const;
  const page = () => engine.page({ filter: ALL, ...request });

  it('an archive that is slow to verify is verified once, over several queries, each of which reports the progress; none omits rows', async () => {
    await fill();
    const { answer, said } = tries(page);
    expect(said.length).toBeGreaterThan(1);
    expect(said[0]).toMatch(
      /^Archive 1 is compared with its manifest .*: 1 of [34] MiB so far.*\. Ask again/,
    );
    expect(new Set(said).size).toBe(said.length);
    expect(answer.entries.map(({ id }) => id)).toEqual([6, 5, 4, 3, 2, 1].map((id) => `postern:${id}`));
    expect(tries(page).said).toEqual([]);
    const stats = tries(() => engine.stats(ALL, 10, 60_000));
    expect([stats.answer.total, stats.said]).toEqual([6, []]);
  });

  it('an archive that is slow to verify is verified further between queries, and again if the file changes', async () => {
    await fill();
    limitComparison(0);
    expect(page).toThrow(/is compared with its manifest/);
    while (continueComparison(0));
    limitComparison(0);
    expect(page().entries).toHaveLength(6);
    const [file = ''] = readdirSync(tables.archives).filter((name) => name.endsWith(ENDING));
    const bytes = readFileSync(join(tables.archives, file));
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    writeFileSync(join(tables.archives, file), bytes);
    expect(() => tries(page)).toThrow(/its bytes were changed/);
  });
});

describe('a query with archives', () => {
  it('a query with archives finds the same rows as if none had ever left the table', async () => {
    const place = fc.constantFrom('table', 'archive', 'second archive', 'both', 'both archives');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(row, place), { maxLength: 100 }),
        fc.array(row, { maxLength: 20 }),
        fc.array(sparse, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 40 }),
        async (postern, auditd, filters, limit) => {
          tables.clear();
          tables.insert(postern.map(([one]) => one));
          tables.insert(auditd, tables.state);
          const at = (...places: string[]) =>
            postern.flatMap(([, one], index) => (places.includes(one) ? [index + 1] : []));
          await tables.archive(at('archive', 'both', 'both archives'));
          await tables.archive(at('second archive', 'both archives'));
          remove(at('archive', 'second archive', 'both archives'));
          for (const part of filters) {
            const filter = { ...part, archives: true };
            const ids = expected({ postern: postern.map(([one]) => one), auditd }, part);
            expectAll(engine, filter, ids, limit);
          }
        },
      ),
      { numRuns: Number(process.env.FC_RUNS ?? 12) },
    );
  });

  it.each(['UTC', 'Asia/Kolkata'])(
    'a query with archives uses the current time zone, with archives created in %s',
    async (before) => {
      const zoned = new QueryEngine(tables.options({ time_zone: 'America/New_York' }));
      const times = fc.array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1, maxLength: 40 });
      const bound = fc.option(fc.integer({ min: -50_000, max: 150_000 }), { nil: null });
      try {
        await fc.assert(
          fc.asyncProperty(times, bound, bound, async (offsets, from, to) => {
            tables.clear();
            const postern = offsets.map((at) => ({ created_at: seconds(at), action: 'update' }));
            tables.insert(postern);
            const ids = postern.map((_, at) => at + 1);
            await tables.archive(ids, before);
            remove(ids.filter((id) => id % 3 > 0));
            const at = (bounds: number | null) =>
              bounds === null ? null : Date.UTC(2026, 10, 1) + bounds * 1_000;
            const filter = { ...EVERYTHING, from: at(from), to: at(to) };
            const found = expected({ postern, auditd: [] }, filter, 'America/New_York');
            expectAll(zoned, { ...filter, archives: true }, found, 7);
          }),
          { numRuns: 8 },
        );
      } finally {
        zoned.close();
      }
    },
  );

  it('a query with archives misses no row, and shows none twice, that is archived and deleted meanwhile', async () => {
    const rows = 12_000;
    tables.insert(Array.from({ length: rows }, (_, at) => ({ created_at: seconds(at), action: 'update' })));
    const chunks = engine.export(ALL, 'ndjson');
    let text = next(chunks);
    const half = Array.from({ length: rows / 2 }, (_, at) => at + 1);
    await tables.archive(half);
    remove(half);
    text += next(chunks);
    const most = Array.from({ length: rows / 2 }, (_, at) => rows / 2 + at + 1);
    await tables.archive(most);
    remove(most);
    for (const { bytes } of chunks) text += textOf(bytes);
    expect(idsOf(text)).toEqual(Array.from({ length: rows }, (_, at) => `postern:${rows - at}`));
  });

  it('a query with archives shows an edited row before and after the edit, and reads archives only if asked', async () => {
    tables.insert([{}, {}]);
    await tables.archive([1, 2]);
    remove([1]);
    tables.postern.exec("UPDATE audit_log SET action = 'delete' WHERE id = 2");
    const page = { page: 1, limit: 50, cursor: null, count: 'some', timeLimit: 1_000 } as const;
    const found = engine.page({ ...page, filter: ALL });
    expect(found.entries.map(({ id, action }) => [id, action])).toEqual([
      ['postern:2', 'unknown.delete'],
      ['postern:2', 'unknown.update'],
      ['postern:1', 'unknown.update'],
    ]);
    expect(engine.page({ ...page, filter: EVERYTHING }).total).toBe(1);
  });

  it('a query with archives shows a row of several archives once, whatever is between', async () => {
    tables.insert([{}]);
    for (const action of ['update', 'delete', 'update']) {
      tables.postern.prepare('UPDATE audit_log SET action = ?').run(action);
      await tables.archive([1]);
    }
    remove([1]);
    const page = { page: 1, limit: 50, cursor: null, count: 'all', timeLimit: 1_000 } as const;
    const { entries, total } = engine.page({ ...page, filter: ALL });
    expect(entries.map(({ action }) => action)).toEqual(['unknown.update', 'unknown.delete']);
    expect(total).toBe(2);
  });

  it('a query with archives finds one entry by id, in the table first, or none', async () => {
    tables.insert([{}, {}, {}, { action: 'create' }]);
    const queries = {
      page: async (filter: Filter, { cursor = null }: PageOptions = {}) =>
        engine.page({ filter, page: 1, limit: 1, cursor, count: 'none', timeLimit: 1_000 }),
    };
    const actionOf = async (id: number) => (await findEntry(queries, 'postern', id))?.action ?? null;
    expect(await actionOf(9)).toBeNull(); // no archive was ever made
    await tables.archive([1, 2, 4]);
    remove([1, 3, 4]);
    tables.postern.exec("UPDATE audit_log SET action = 'delete' WHERE id = 2");
    const found = await Promise.all([0, 1, 2, 3, 4, 5, Number.MAX_SAFE_INTEGER].map(actionOf));
    expect(found).toEqual([null, 'unknown.update', 'unknown.delete', null, 'unknown.create', null, null]);
    expect(await findEntry(queries, 'auditd', 1)).toBeNull();
  });

  it('a query with archives ignores the remains of archives whose removal was interrupted', async () => {
    tables.insert([{ created_at: '2026-08-01 00:00:00' }, { created_at: '2026-10-01 00:00:00' }]);
    await tables.archive([1]);
    await tables.archive([2]);
    remove([1, 2]);
    const [manifest = ''] = readdirSync(tables.archives).filter((name) => name.endsWith('.manifest.json'));
    const bytes = readFileSync(join(tables.archives, manifest));
    removeArchives(tables.archives, removalOf(tables.archives, 1), null);
    writeFileSync(join(tables.archives, manifest), bytes);
    const page = { page: 1, limit: 50, cursor: null, count: 'some', timeLimit: 1_000 } as const;
    expect(engine.page({ ...page, filter: ALL }).entries.map(({ id }) => id)).toEqual(['postern:2']);
  });

  it('a query with archives decompresses no block outside the range of time', async () => {
    tables.insert([{ created_at: '2026-08-01 00:00:00' }, { created_at: '2026-10-01 00:00:00' }]);
    await tables.archive([1]);
    await tables.archive([2]);
    remove([1, 2]);
    const [first = ''] = readdirSync(tables.archives).filter((name) => name.endsWith(ENDING));
    writeFileSync(join(tables.archives, first), readFileSync(join(tables.archives, first)).fill(0));
    const page = { page: 1, limit: 50, cursor: null, count: 'some', timeLimit: 1_000 } as const;
    const filter = { ...ALL, from: Date.UTC(2026, 8, 1) };
    expect(engine.page({ ...page, filter }).entries.map(({ id }) => id)).toEqual(['postern:2']);
    expect(() => engine.page({ ...page, filter: ALL })).toThrow(/000001.*archive verify/);
  });
});
