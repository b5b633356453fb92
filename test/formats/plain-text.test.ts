import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPlainText, minimalPlainText } from '../../src/formats/plain-text.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, controlCharacters, plainEvent, unknownType } from './events.js';

const ecs = { category: ['authentication'], type: ['start'] };
const login = { ...unknownType, ecs, title: 'Login failed', action: 'auth.login_failure' };
const nobody = { id: null, name: null, email: null };
const nothing = { type: null, id: null };

describe('the sentence', () => {
  it.each([
    [
      'a login',
      { type: login, action: login.action, resource: nothing },
      'Login failed for jan.kowalski (jan@example.org) from 203.0.113.7 on pp1.example.net [auth.login_failure, postern:4711]',
    ],
    [
      'a change',
      {},
      'Widget frobnicated by jan.kowalski (jan@example.org) from 203.0.113.7 on pp1.example.net: widget 12 [widget.frobnicated, postern:4711]',
    ],
    [
      'an unknown user',
      { user: nobody, address: null, resource: nothing, source: 'auditd' as const },
      'Widget frobnicated on pp1.example.net [widget.frobnicated, auditd:4711]',
    ],
    [
      'an id alone, and no time',
      { user: { ...nobody, id: '7' }, time: null, resource: nothing, address: null },
      'Widget frobnicated by "user 7" on pp1.example.net [widget.frobnicated, postern:4711, time unknown]',
    ],
  ])('the sentence for %s', (_of, change, expected) => {
    expect(formatPlainText(readBack(plainEvent, { ...change }))).toBe(expected);
  });

  it('the sentence quotes a name that looks like a part of it', () => {
    const user = { id: null, name: 'jan from 198.51.100.1 on "x"', email: null };
    expect(formatPlainText(readBack(plainEvent, { user }))).toContain(
      'by "jan from 198.51.100.1 on \\"x\\"" from 203.',
    );
  });

  it('the sentence never has a control character, and marks a shortened event', () => {
    fc.assert(
      fc.property(anyEvent(), fc.integer({ min: 256, max: 400 }), (event, bytes) => {
        expect(formatPlainText(event)).not.toMatch(controlCharacters);
        expect(formatPlainText(event, { truncated: true })).toMatch(/truncated]$/);
        const least = minimalPlainText(event, bytes);
        expect(Buffer.byteLength(least)).toBeLessThanOrEqual(bytes);
        expect(least).toMatch(/… \[(postern|auditd):\d+, truncated]$/);
      }),
    );
  });
});
