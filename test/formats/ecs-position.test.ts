import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog, type EventType } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { parseEcsPosition } from '../../src/formats/ecs-position.js';
import { lastLine } from '../../src/formats/format-fallback.js';
import { formatHeader } from '../../src/sinks/files/fail2ban-files.js';
import { readBack } from '../support/read-events.js';
import { earlierLines, formatEarlierEcs } from './earlier-ecs.js';
import { anyEvent } from './events.js';
import { failure, hostile } from './hostile-events.js';

describe('the position of a line', () => {
  it('the position is read back from any ECS line', () => {
    fc.assert(
      fc.property(hostile, (event) => {
        const { source, timeline, sequence, id } = event;
        expect(parseEcsPosition(formatEcs(event))).toEqual({ source, timeline, sequence, id });
      }),
      { numRuns: 2_000 },
    );
  });

  it('a torn ECS line has no position', () => {
    const line = formatEcs(readBack(failure, { details: '{"a":{"b":{"c":"}}"}},"d":{}}' }));
    for (let length = 0; length < line.length; length++)
      expect(parseEcsPosition(line.slice(0, length))).toBeNull();
    for (let from = 1; from < line.length; from++) expect(parseEcsPosition(line.slice(from))).toBeNull();
    expect(parseEcsPosition(line)).not.toBeNull();
  });

  it.each([
    ['a header', formatHeader(7, Date.UTC(2026, 10, 22), 'abc')],
    ['two lines run together', `${formatEcs(failure)}${formatEcs(failure)}`],
    ['a line with a hole', formatEcs(failure).replace('jan.kowalski', '\0\0\0\0')],
    ['foreign JSON', '{"@timestamp":"2026-11-22T20:21:00.000Z","message":"x"}'],
    ['the text of a client', JSON.stringify({ message: formatEcs(failure) })],
    ['nothing', ''],
  ])('no position is read from %s', (_, line) => {
    expect(parseEcsPosition(line)).toBeNull();
  });

  it.each(
    catalog.flatMap(
      (type): Array<[string, EventType]> => [
        [type.action, type],
        [`an alert like ${type.action}`, { ...type, ecs: { ...type.ecs, kind: 'alert' } }],
        [`${type.action} without a category`, { ...type, ecs: { ...type.ecs, category: [] } }],
      ],
    ),
  )('the position is read back from the line of %s', (_, type) => {
    const event = readBack(failure, { type, source: 'auditd', timeline: 7 });
    const { source, timeline, sequence, id } = event;
    const at = { source, timeline, sequence, id };
    expect(parseEcsPosition(formatEcs(event))).toEqual(at);
    expect(parseEcsPosition(formatEcs(readBack(event, { address: null, rawAddress: 'x' })))).toEqual(at);
    expect(parseEcsPosition(formatEcs(event, { truncated: true }))).toEqual(at);
    expect(parseEcsPosition(formatEarlierEcs(event))).toEqual(at);
  });

  it('the position is read back from the line of an event that no format can express', () => {
    const { source, timeline, sequence, id } = failure;
    expect(parseEcsPosition(lastLine(failure))).toEqual({ source, timeline, sequence, id });
  });

  it('the position is read back from a line with nothing behind its id', () => {
    const line = formatEcs(failure).replace(/,"created":.*?"module":"postern"\}/, '}');
    expect(line).toContain(`"id":"${failure.id}"},"source"`);
    expect(parseEcsPosition(line)).toEqual(parseEcsPosition(formatEcs(failure)));
  });

  it('no key or text in a line, however deep, is taken for its source, timeline or id', () => {
    const said = parseEcsPosition(formatEcs(failure));
    const forged = { source: 'auditd', timeline: 99 };
    const event = { sequence: 1, id: 'f'.repeat(32) };
    const line = JSON.parse(formatEcs(failure)) as Record<string, object>;
    const deeper = { ecs: { version: '9.4.0' }, postern: forged, event };
    const user = { ...line.user, target: { name: 'x', ...deeper }, changes: deeper };
    const last = { ...line, user, zz: deeper };
    expect(
      parseEcsPosition(JSON.stringify({ ...last, postern: { ...line.postern, ...{ details: deeper } } })),
    ).toEqual(said);
    const earlier = JSON.parse(formatEarlierEcs(failure)) as Record<string, object>;
    const { postern, ...rest } = earlier;
    const old = { ...rest, user, postern: { ...postern, details: deeper } };
    expect(parseEcsPosition(JSON.stringify(old))).toEqual(said);
  });
});

describe('a line of the releases of ECS 8.17', () => {
  it('the position is read back from each of their lines', () => {
    expect(earlierLines.length).toBeGreaterThan(90);
    const places = new Set<string>();
    for (const line of earlierLines) {
      const { event, postern } = JSON.parse(line) as {
        event: { sequence: number; id: string };
        postern: { source: string; timeline: number };
      };
      const { source, timeline } = postern;
      expect(parseEcsPosition(line)).toEqual({ source, timeline, sequence: event.sequence, id: event.id });
      places.add(`${source} ${timeline}`);
    }
    expect([...places]).toEqual(
      expect.arrayContaining(['postern 1', 'auditd 2', 'fleet 1', 'postern 999999999']),
    );
  });

  it('formatEarlierEcs writes their lines', () => {
    const [line = ''] = earlierLines.slice(-13, -12);
    expect(line).toContain('"sequence":4711');
    const time = earlierLines.find((one) => one.includes('"time_unreadable":"yesterday"'));
    expect(formatEarlierEcs(readBack(failure, { time: null, rawTime: 'yesterday' }))).toBe(time);
    const revision = earlierLines.find((one) => one.includes('"revision_of":12'));
    expect(formatEarlierEcs(readBack(failure, { source: 'auditd', revisionOf: 12 }))).toBe(revision);
  });

  it('a torn line has no position', () => {
    for (const line of earlierLines.slice(-14)) {
      for (let length = 0; length < line.length; length += 3)
        expect(parseEcsPosition(line.slice(0, length))).toBeNull();
      for (let from = 1; from < line.length; from += 3) expect(parseEcsPosition(line.slice(from))).toBeNull();
      expect(parseEcsPosition(line + line)).toBeNull();
    }
  });

  it('the position is read back whatever a client wrote', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          hostile,
          anyEvent(catalog).filter(({ action }) => /^[a-z_.]+$/.test(action)),
        ),
        (event) => {
          const { source, timeline, sequence, id } = event;
          expect(parseEcsPosition(formatEarlierEcs(event))).toEqual({ source, timeline, sequence, id });
        },
      ),
      { numRuns: 500 },
    );
  });
});
