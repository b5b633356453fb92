import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { createFormatter, type Formatter, syslogFormatDefaults } from '../../src/formats/syslog-message.js';
import {
  type Encoder,
  encode,
  MemoryPool,
  MessageBuffer,
  messageAt,
  selectMessages,
} from '../../src/sinks/messages.js';
import { anyEvent, plainEvent } from '../formats/events.js';
import { readBack } from '../support/read-events.js';

const events = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: anyEvent(catalog) },
    {
      weight: 5,
      arbitrary: fc
        .tuple(fc.nat(20_000), fc.nat(), fc.constantFrom('', 'é', '\\u0000', '\\n'))
        .map(([length, sequence, more]) =>
          readBack(plainEvent, { sequence, details: `{"a":"${'x'.repeat(length)}${more}"}` }),
        ),
    },
  ),
  { maxLength: 80 },
);

function formatter(more: Partial<Parameters<typeof createFormatter>[0]>): Formatter {
  return createFormatter({ ...syslogFormatDefaults, procId: null, ...more });
}

const formats: Formatter[] = [
  formatter({}),
  formatter({ maxMessageSize: 1_200 }),
  formatter({ structuredDataId: 'audit@32473', bom: true }),
  formatter({ envelope: 'rfc3164', zone: 'utc' }),
  formatter({ format: 'cef' }),
  formatter({ maxMessageSize: 1_000_000 }),
  formatEcs,
];

const encoderOf = (format: Formatter, end: Encoder['end'] = ''): Encoder => ({
  key: 'test',
  format,
  last: () => 'last',
  end,
});

describe('messages', () => {
  it("messages equal the text of each event's format, even in reused memory", () => {
    const pool = new MemoryPool();
    fc.assert(
      fc.property(fc.constantFrom(...formats), events, fc.constantFrom('', '\n'), (format, given, end) => {
        const buffer = new MessageBuffer(encoderOf(format, end as Encoder['end']), pool.take());
        for (const event of given) buffer.add(event);
        const messages = buffer.messages();
        expect(messages.length).toBe(given.length);
        expect(messages.bytes.toString()).toBe(
          given.map((event) => Buffer.from(format(event) + end).toString()).join(''),
        );
        for (const [at, event] of given.entries()) {
          expect(messageAt(messages, at).toString()).toBe(Buffer.from(format(event) + end).toString());
          expect([messages.sequences[at], messages.idAt(at)]).toEqual([event.sequence, event.id]);
        }
        pool.give(buffer.memory);
      }),
      { numRuns: 300 },
    );
  });

  it('selected messages keep unformattable events at their places', () => {
    const throwing = Object.assign((event: { sequence: number }) => {
      if (event.sequence % 3 === 0) throw new Error('no');
      return `event ${event.sequence}`;
    }) as Formatter;
    const given = [1, 2, 3, 4, 5, 6].map((sequence) => readBack(plainEvent, { sequence }));
    const all = encode(encoderOf(throwing), given);
    expect(selectMessages(all, () => true)).toBe(all);
    const some = selectMessages(all, (sequence) => sequence > 2 && sequence !== 5);
    expect([...some.sequences]).toEqual([3, 4, 6]);
    expect(Array.from({ length: 3 }, (_, at) => messageAt(some, at).toString())).toEqual([
      'last',
      'event 4',
      'last',
    ]);
    expect(some.unformatted.map(({ at, event }) => [at, event.sequence])).toEqual([
      [0, 3],
      [2, 6],
    ]);
    expect([some.idAt(0), some.idAt(2)]).toEqual([given[2]?.id, given[5]?.id]);
  });
});
