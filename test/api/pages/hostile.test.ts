import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changesOf } from '../../../src/api/pages/diff.js';
import { Entries } from '../../../src/api/pages/entries.js';
import { markInvisible } from '../../../src/api/pages/escape-invisible.js';
import { jsonTokens } from '../../../src/api/pages/json-view.js';
import type { Entry } from '../../../src/query/entry.js';

const NOW = Date.UTC(2026, 10, 22, 20, 21);
const plain: Entry = {
  id: 'postern:1',
  created_at: '2026-11-22T20:20:00.000Z',
  user: { id: '1', name: 'anna', email: 'anna@example.net' },
  action: 'auth.login_failure',
  resource_type: 'auth',
  resource_id: null,
  details: null,
  ip_address: '203.0.113.7',
  server: 'here',
  outcome: 'failure',
};

function html(...entries: Entry[]): string {
  return String(Entries({ entries, written: {}, now: NOW, servers: true }));
}

/** What may not reach a page raw: markup's own characters are the escaping's, these are ours. */
const HIDDEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/;

describe('untrusted text on the page', () => {
  it.each([
    ['anna', 'anna'],
    ['a\u202Egnp.exe', 'a⟨U+202E⟩gnp.exe'],
    ['line\u2028line', 'line⟨U+2028⟩line'],
    ['two\nlines\r\n', 'two⏎lines␍⏎'],
    ['zero\u200bwidth', 'zero⟨U+200B⟩width'],
    ['nul\u0000esc\u001b[2J', 'nul⟨U+0000⟩esc⟨U+001B⟩[2J'],
    ['half \ud800 pair', 'half ⟨U+D800⟩ pair'],
    ['emoji 🚪 stays', 'emoji 🚪 stays'],
    ['مرحبا', 'مرحبا'],
  ])('untrusted text is shown without hidden characters: %j', (text, shown) => {
    expect(markInvisible(text)).toBe(shown);
  });

  it('untrusted text is cut if it is too long, with the number of missing characters', () => {
    expect(markInvisible('x'.repeat(1_000_000), 10)).toBe('xxxxxxxxxx… (999,990 more)');
  });

  it('untrusted text never becomes markup, in any field', () => {
    const attacks = [
      '<script>alert(1)</script>',
      '"><img src=x onerror=alert(1)>',
      "' onmouseover='alert(1)",
      '</details></li></ol><iframe src=//evil>',
      'javascript:alert(1)',
      '&lt;b&gt;',
    ];
    for (const text of attacks) {
      const page = html({
        ...plain,
        created_at: text,
        user: { id: text, name: text, email: text },
        action: text,
        resource_type: text,
        resource_id: text,
        details: { [text]: text, before: { [text]: text }, after: { [text]: `${text}2` } },
        ip_address: text,
        server: text,
      });
      expect(page).not.toMatch(/<(script|img|iframe)/i);
      const tags = page.match(/<[^>]*>/g) ?? [];
      expect(tags.filter((tag) => / on\w+\s*=/.test(tag.replace(/"[^"]*"/g, '""')))).toEqual([]);
      expect(page).not.toMatch(/href="(?!\/)/);
    }
  });

  it('untrusted text has no characters that a browser acts on', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.jsonValue(), (text, value) => {
        const entry = {
          ...plain,
          user: { id: null, name: text, email: text },
          details: { value, [text]: text },
        };
        expect(html({ ...entry, action: text, server: text })).not.toMatch(HIDDEN);
      }),
      { numRuns: 60 },
    );
  });

  it('untrusted text takes a limited part of the page, however long it is', () => {
    const huge = {
      ...plain,
      details: { text: 'A'.repeat(1_000_000), list: Array.from({ length: 100_000 }, () => 1) },
    };
    const page = html(...Array.from({ length: 50 }, () => huge));
    expect(page.length).toBeLessThan(1_000_000);
    expect(page).toContain('View all of it as JSON');
    const begun = html({ ...plain, details: `{"a":"<b>${'A'.repeat(20_000)}` });
    expect(begun).toContain('{&quot;a&quot;:&quot;&lt;b&gt;AAA');
    expect(begun).toContain('View all of it as JSON');
  });

  it('untrusted text may be nested to any depth', () => {
    let deep: unknown = 1;
    for (let n = 0; n < 100_000; n++) deep = n % 2 === 0 ? [deep] : { a: deep };
    expect(jsonTokens(deep, 5_000).tokens.length).toBeLessThan(500);
    expect(changesOf({ before: deep, after: 1 })).toHaveLength(1);
  });
});

describe('the changes of an update', () => {
  it.each([
    [
      { before: { a: 1, b: { c: true } }, after: { a: 1, b: { c: false }, d: 'new' } },
      ['b.c: true → false', 'd: null → "new"'],
    ],
    [{ key: 'default_site', before: '404', after: 'redirect' }, ['default_site: "404" → "redirect"']],
    [
      { changes: { port: { from: 80, to: 81 }, names: [['a'], ['b']] } },
      ['port: 80 → 81', 'names: ["a"] → ["b"]'],
    ],
    [{ old: { a: 1 }, new: {} }, ['a: 1 → null']],
  ])('changes are found in %j', (details, expected) => {
    const changes = changesOf(details) ?? [];
    expect(changes.map(({ path, before, after }) => `${path}: ${before} → ${after}`)).toEqual(expected);
  });

  it.each([null, 'text', [], {}, { before: 1 }, { before: 1, after: 1 }, { changes: 'all' }])(
    'changes are not guessed from %j',
    (details) => {
      expect(changesOf(details)).toBeNull();
    },
  );
});
