import { expect } from 'vitest';
import type { QueryEngine } from '../../src/query/engine.js';
import type { Filter } from '../../src/query/filter.js';
import { exported } from './tables.js';

/** Ids of entries, a line each. */
export function idsOf(text: string): string[] {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => (JSON.parse(line) as { id: string }).id);
}

/** Everything that the engine says of a filter is what is meant: pages by number and by cursor, their total, the export, the statistics. */
export function expectAll(engine: QueryEngine, filter: Filter, ids: readonly string[], limit: number): void {
  const request = { filter, limit, count: 'some' as const, timeLimit: 60_000 };
  const byNumber: string[] = [];
  const byCursor: string[] = [];
  let cursor: string | null = null;
  for (let page = 1; page <= Math.ceil(ids.length / limit) + 1; page++) {
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
  expect(idsOf(exported(engine, filter))).toEqual(ids);
  expect(engine.stats(filter, 5, 60_000).total).toBe(ids.length);
}
