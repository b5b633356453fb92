import { describe, expect, it } from 'vitest';
import { markInvisible as onThePage } from '../../src/api/pages/escape-invisible.js';
import {
  escapeUnsafe,
  hasUnsafe,
  marked,
  pictured,
  safeJson,
  toSafeJson,
  visibleInCsv,
  visibleLines,
} from '../../src/audit/unsafe-characters.js';
import { visibleUpTo } from '../../src/commands/support/terminal.js';
import { escapeCefValue } from '../../src/formats/cef.js';
import { formatEcs, quote } from '../../src/formats/ecs.js';
import { printable, printableJson } from '../../src/formats/escape-unprintable.js';
import { escapeLeefValue } from '../../src/formats/leef.js';
import { csvLine, field } from '../../src/query/csv.js';
import { entryLine } from '../../src/query/entry.js';
import { readRow } from '../support/read-events.js';

/** Every way in which foreign text is output, each for the text `a`, a character, `b`. */
const media: Readonly<Record<string, (text: string) => string>> = {
  'a terminal': escapeUnsafe,
  'a terminal, cut': (text) => visibleUpTo(text, 100),
  'a message of several lines': visibleLines,
  CSV: (text) => field(text),
  'CSV of the list': visibleInCsv,
  text: printable,
  CEF: escapeCefValue,
  LEEF: escapeLeefValue,
  'syslog without escapes': pictured,
  'the page': (text) => onThePage(text),
  'the list for the page': marked,
  JSON: (text) => toSafeJson(text).slice(1, -1),
  'JSON that was made elsewhere': (text) => safeJson(JSON.stringify(text)).slice(1, -1),
  'JSON of syslog': (text) => printableJson(JSON.stringify(text)).slice(1, -1),
  ECS: (text) => quote(text).slice(1, -1),
};

/** Line ends and tabs belong to CSV and to our own text. */
const OWN: Readonly<Record<string, string>> = {
  CEF: '\r\n=',
  LEEF: '\r\n\t=^',
  CSV: '\n\t',
  'CSV of the list': '\n\t',
  'a message of several lines': '\n',
};
/** Characters that belong to the syntax of these media. */
const SYNTAX = new Set(['"', '\\']);

describe('the list of unsafe characters', () => {
  it('every medium escapes the same characters, over all of Unicode', () => {
    const wrong: string[] = [];
    for (let code = 0; code <= 0x10ffff; code++) {
      const character = String.fromCodePoint(code);
      if (SYNTAX.has(character)) continue;
      const text = `a${character}b`;
      const unsafe = hasUnsafe(text);
      for (const [medium, show] of Object.entries(media)) {
        const shown = show(text).replace(/^"|"$/g, '');
        const isChanged = shown !== text;
        if (OWN[medium]?.includes(character) === true) continue;
        if (isChanged !== unsafe || hasUnsafe(shown)) wrong.push(`${medium}: U+${code.toString(16)}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it.each([
    0, 7, 0x1b, 0x7f, 0x85, 0x9b, 0xad, 0x34f, 0x61c, 0x115f, 0x180b, 0x180e, 0x200b, 0x200d, 0x200e, 0x2028,
    0x202e, 0x2066, 0x3164, 0xfe0f, 0xfeff, 0xffa0, 0xfff9, 0xffff, 0xe000, 0xd800, 0xe0041, 0xe0100,
  ])('U+%s is unsafe', (code) => {
    expect(hasUnsafe(String.fromCodePoint(code))).toBe(true);
  });

  it('letters, marks, digits, signs and spaces of any script are safe, and so are emoji', () => {
    for (const text of ['jan', 'Zoë', 'é', '日本', 'कि', '😀', '~', '\u00a0', '\u0301', 'ａ']) {
      expect(hasUnsafe(text)).toBe(false);
    }
  });

  it('escaping is lossless in JSON', () => {
    const text = Array.from({ length: 0x3000 }, (_, code) => String.fromCharCode(code)).join('');
    const all = `${text}\u{e0041}\u{1d173}\ud800`;
    for (const json of [toSafeJson({ [all]: all }), toSafeJson({ [all]: all }, 2)]) {
      expect(JSON.parse(json)).toEqual({ [all]: all });
      expect(hasUnsafe(json.replaceAll('\n', ''))).toBe(false);
    }
  });

  it('no format outputs an unsafe character of a row unescaped', () => {
    const hostile = '\u001b]0;x\u0007\u009b31m\u202e\u{e0041}\ufe0f\u0000';
    const event = readRow({
      created_at: hostile,
      user_id: hostile,
      user_name: hostile,
      user_email: hostile,
      action: hostile,
      resource_type: hostile,
      resource_id: hostile,
      details: JSON.stringify({ [hostile]: hostile, deep: [hostile] }),
      ip_address: hostile,
      server: hostile,
    });
    for (const text of [formatEcs(event), entryLine(event).trimEnd(), csvLine(event).trimEnd()]) {
      expect(hasUnsafe(text)).toBe(false);
    }
  });
});
