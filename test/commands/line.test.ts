import { describe, expect, it } from 'vitest';
import { NetworkSet } from '../../src/audit/address.js';
import { createPaint } from '../../src/commands/support/terminal.js';
import { utcTime } from '../../src/commands/support/times.js';
import { type LineFilter, parseLine, passes, renderLine } from '../../src/commands/tail/line.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { earlierLines, formatEarlierEcs } from '../formats/earlier-ecs.js';
import { plainEvent } from '../formats/events.js';
import { readBack } from '../support/read-events.js';

const render = { paint: createPaint(false), times: utcTime, server: 'pp1.example.net' };
const line = (changes: Partial<typeof plainEvent> = {}) =>
  parseLine(formatEcs(readBack(plainEvent, { ...changes }))) ?? {};
const nothing: LineFilter = { actions: null, outcome: null, networks: null };

describe('a line of tail', () => {
  it('a line of tail has time, outcome, action, address, user and object', () => {
    expect(renderLine(line(), render)).toBe(
      '2026-11-22T20:21:00Z  unknown  widget.frobnicated        203.0.113.7      jan.kowalski  widget 12',
    );
  });

  it('a line of tail shows the lines of an earlier release alike', () => {
    expect(renderLine(parseLine(formatEarlierEcs(plainEvent)) ?? {}, render)).toBe(
      renderLine(line(), render),
    );
    for (const earlier of earlierLines) {
      const { event } = JSON.parse(earlier) as { event: { action: string } };
      expect(renderLine(parseLine(earlier) ?? {}, render)).toContain(`  ${event.action}`);
    }
  });

  it('a line of tail names the server when it is another one', () => {
    expect(renderLine(line({ server: 'pp2' }), render)).toMatch(/ {2}on pp2$/);
  });

  it('a line of tail leaves out missing parts', () => {
    const bare = line({
      address: null,
      user: { id: null, name: null, email: null },
      resource: { type: 'user', id: null },
    });
    expect(renderLine(bare, render)).toBe(
      '2026-11-22T20:21:00Z  unknown  widget.frobnicated        -                -',
    );
  });

  it('a line of tail escapes the control characters of a hostile name', () => {
    const user = { id: null, name: '\u001b[2J\u202eroot\nforged line', email: null };
    expect(renderLine(line({ user }), render)).toContain('  \\x1b[2J\\u202eroot\\x0aforged line');
  });

  it('a line of tail is one short line, whatever it contains', () => {
    const user = { id: null, name: 'x'.repeat(1_000_000), email: null };
    expect(renderLine(line({ user }), render).length).toBeLessThan(200);
  });

  it.each(['{}', '{"event":1,"user":[],"postern":"x","@timestamp":{}}', '[]'])(
    'does without anything: %s',
    (text) => {
      expect(renderLine(parseLine(text) ?? {}, render)).not.toContain('undefined');
    },
  );

  it('a line of tail is null for a text that is not a JSON object', () => {
    expect(parseLine('{"a":')).toBeNull();
    expect(parseLine('null')).toBeNull();
  });
});

describe('the filters', () => {
  it.each<[string, Partial<LineFilter>, boolean]>([
    ['none', {}, true],
    ['the action', { actions: ['widget.frobnicated'] }, true],
    ['the word in the row', { actions: ['frobnicated'] }, true],
    ['the category', { actions: ['widget'] }, true],
    ['the beginning of a name', { actions: ['widg'] }, false],
    ['another action', { actions: ['auth'] }, false],
    ['one of several', { actions: ['auth', 'widget'] }, true],
    ['the outcome', { outcome: 'unknown' }, true],
    ['another outcome', { outcome: 'failure' }, false],
    ['the network', { networks: new NetworkSet(['203.0.113.0/24']) }, true],
    ['another network', { networks: new NetworkSet(['198.51.100.0/24', '2001:db8::/32']) }, false],
    ['two that both must hold', { outcome: 'unknown', actions: ['auth'] }, false],
  ])('%s', (_, filter, passing) => {
    expect(passes(line(), { ...nothing, ...filter })).toBe(passing);
  });

  it('an event without an address matches no network', () => {
    expect(passes(line({ address: null }), { ...nothing, networks: new NetworkSet(['0.0.0.0/0']) })).toBe(
      false,
    );
  });
});
