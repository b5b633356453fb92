import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { eventsTable } from '../../src/audit/events-doc.js';

const page = new URL('../../docs/reference/EVENTS.md', import.meta.url);

describe('docs/reference/EVENTS.md', () => {
  it('docs/reference/EVENTS.md has the content of the catalog (UPDATE_DOCS=1 writes it)', () => {
    if (process.env.UPDATE_DOCS !== undefined) writeFileSync(page, eventsTable());
    expect(readFileSync(page, 'utf8')).toBe(eventsTable());
  });
});
