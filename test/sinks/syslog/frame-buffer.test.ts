import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog } from '../../../src/audit/catalog.js';
import {
  createFormatter,
  type Formatter,
  syslogFormatDefaults,
} from '../../../src/formats/syslog-message.js';
import { countedFrame, FrameBuffer, lineFrame } from '../../../src/sinks/syslog/frame-buffer.js';
import { anyEvent, plainEvent } from '../../formats/events.js';
import { readBack } from '../../support/read-events.js';
import { CountedReader, chunked } from './receivers.js';

const events = fc.oneof(
  { weight: 3, arbitrary: anyEvent(catalog) },
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.nat(2_000), fc.nat(), fc.constantFrom('', 'é', '\\u0000', '\\n'))
      .map(([length, sequence, more]) =>
        readBack(plainEvent, { sequence, details: `{"a":"${'x'.repeat(length)}${more}"}` }),
      ),
  },
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
];

describe('frames that are written as bytes', () => {
  it('equal those made as text, for any events and wherever they are taken', () => {
    const one = fc.record({
      event: events,
      how: fc.constantFrom('counted', 'line', 'relp'),
      take: fc.nat(9),
    });
    fc.assert(
      fc.property(fc.constantFrom(...formats), fc.array(one, { maxLength: 30 }), (format, given) => {
        const frames = new FrameBuffer(format);
        const taken: Buffer[] = [];
        let expected = '';
        for (const { event, how, take } of given) {
          if (how === 'line') frames.addLine(event);
          else if (how === 'counted') frames.addCounted(event);
          else frames.addCounted(event, '4711 syslog ', '\n');
          const message = format(event);
          expected +=
            how === 'line'
              ? lineFrame(message)
              : how === 'counted'
                ? countedFrame(message)
                : `4711 syslog ${countedFrame(message)}\n`;
          if (take === 0) taken.push(frames.take());
        }
        taken.push(frames.take());
        expect(frames.length).toBe(0);
        expect(Buffer.concat(taken).toString('utf8')).toBe(Buffer.from(expected).toString('utf8'));
      }),
      { numRuns: 400 },
    );
  });

  it('are whole if they end at, before or behind the end of the memory, after frames of any length', () => {
    const slab = 128 * 1024;
    let length = 0;
    const text = () => 'x'.repeat(length);
    const write = (_: unknown, into: Buffer, at: number) =>
      at + length > into.length ? -1 : into.fill('x', at, at + length) && at + length;
    const format = Object.assign(text, { write }) as Formatter;
    const around = fc.record({
      filled: fc.integer({ min: 0, max: 110_000 }),
      last: fc.constantFrom(0, 7, 42, 500, 5_000), // whose length has one digit to four
      off: fc.integer({ min: -20, max: 20 }),
      relp: fc.boolean(),
    });
    fc.assert(
      fc.property(around, ({ filled, last, off, relp }) => {
        const frames = new FrameBuffer(format);
        const [before, after] = relp ? ['4711 syslog ', '\n'] : ['', ''];
        const add = (size: number) => {
          length = size;
          frames.addCounted(plainEvent, before, after);
          return `${before}${size} ${text()}${after}`;
        };
        const expected = add(filled) + add(last);
        const rest = add(Math.max(0, slab - expected.length - before.length - 5 + off)) + add(3);
        expect(frames.take().toString('latin1') === expected + rest).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it.each(['octet-counting', 'newline'] as const)('leave what was taken alone, with %s', (framing) => {
    const frames = new FrameBuffer(formatter({ maxMessageSize: 1_000_000 }));
    const taken: Buffer[] = [];
    let expected = '';
    const lengths = [0, 90_000, 1, 400_000, 20_000, 8_000, 11_500, 12_300, 130_000, 3];
    for (let round = 0; round < 30; round++) {
      for (const [at, length] of [...lengths, ...Array.from({ length: 300 }, () => 400)].entries()) {
        const event = readBack(plainEvent, { sequence: at + 1, details: `{"a":"${'y'.repeat(length)}"}` });
        frames.add(event, framing);
        expected += (framing === 'newline' ? lineFrame : countedFrame)(formats[5]?.(event) ?? '');
        if (at % 2 === 0) taken.push(frames.take());
      }
    }
    taken.push(frames.take());
    expect(Buffer.concat(taken).toString('utf8')).toBe(expected);
  });
});

const message = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 });

describe('octet counting', () => {
  it('counts bytes, not characters', () => {
    expect(countedFrame('<86>1 żółw')).toBe('13 <86>1 żółw');
  });

  it('is read back, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 20 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
        (messages, cuts) => {
          const reader = new CountedReader();
          for (const chunk of chunked(Buffer.from(messages.map(countedFrame).join('')), cuts))
            reader.push(chunk);
          expect(reader.messages).toEqual(messages);
        },
      ),
    );
  });
});

describe('newline framing', () => {
  it('keeps any message on one line', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(message, fc.constant('a\nb\r\nc\n')), { minLength: 1 }), (messages) => {
        const lines = messages.map(lineFrame).join('').split('\n');
        expect(lines).toHaveLength(messages.length + 1);
      }),
    );
  });

  it('changes nothing where there is no line end', () => {
    expect(lineFrame('<86>1 a')).toBe('<86>1 a\n');
    expect(lineFrame('a\nb\r\nc')).toBe('a b c\n');
  });
});
