import fc from 'fast-check';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { QueryEngine } from '../../src/query/engine.js';
import { expectAll } from './answers.js';
import { expected, row, sparse } from './model.js';
import { Tables } from './tables.js';

describe.each([
  ['with the indexes', true, 'UTC'],
  ['without an index', false, 'UTC'],
  // On the first of November its clocks go back.
  ['with the indexes', true, 'America/New_York'],
  ['without an index', false, 'Asia/Kolkata'],
])('the engine %s (%s), with times of %s', (_, indexes, timeZone) => {
  let tables: Tables;
  let engine: QueryEngine;
  beforeAll(() => {
    tables = new Tables({ indexes });
    engine = new QueryEngine(tables.options({ time_zone: timeZone }));
  });
  afterAll(() => {
    engine.close();
    tables.remove();
  });

  it('the engine finds the same rows as a naive filter, in the same order, on every page, by number and by cursor', () => {
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
            expectAll(engine, one, expected({ postern, auditd }, one, timeZone), limit);
          }
        },
      ),
      { numRuns: Number(process.env.FC_RUNS ?? 40) },
    );
  });
});
