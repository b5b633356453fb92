import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine } from '../../src/query/engine.js';
import { expected, row, sparse } from './model.js';
import { exported, Tables } from './tables.js';

describe.each([
  ['with the indexes', true],
  ['without an index', false],
])('the engine %s', (_, indexes) => {
  let tables: Tables;
  let engine: Engine;
  beforeAll(() => {
    tables = new Tables({ indexes });
    engine = new Engine(tables.options());
  });
  afterAll(() => {
    engine.close();
    tables.remove();
  });

  it('finds what a naive filter finds, in the same order, on every page, by number and by cursor', () => {
    fc.assert(
      fc.property(
        fc.array(row, { maxLength: 120 }),
        fc.array(row, { maxLength: 30 }),
        fc.array(sparse, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 40 }),
        (postern, auditd, filters, limit) => {
          tables.clear();
          tables.insert(postern);
          tables.insert(auditd, tables.state);
          for (const one of filters) {
            const ids = expected({ postern, auditd }, one);
            const byNumber: string[] = [];
            const byCursor: string[] = [];
            let cursor: string | null = null;
            for (let page = 1; page <= Math.ceil(ids.length / limit) + 1; page++) {
              const request = { filter: one, limit, count: 'some' as const, timeLimit: 60_000 };
              const numbered = engine.page({ ...request, page, cursor: null });
              byNumber.push(...numbered.entries.map(({ id }) => id));
              expect([numbered.total, numbered.total_exact]).toEqual([ids.length, true]);
              if (page > 1 && cursor === null) continue;
              const next = engine.page({ ...request, page: 1, cursor });
              byCursor.push(...next.entries.map(({ id }) => id));
              cursor = next.next;
            }
            expect(byNumber).toEqual(ids);
            expect(byCursor).toEqual(ids);
            expect(cursor).toBeNull();
            const lines = exported(engine, one);
            const listed = lines.split('\n').filter((line) => line !== '');
            expect(listed.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(ids);
            expect(engine.stats(one, 5, 60_000).total).toBe(ids.length);
          }
        },
      ),
      { numRuns: Number(process.env.FC_RUNS ?? 40) },
    );
  });
});
