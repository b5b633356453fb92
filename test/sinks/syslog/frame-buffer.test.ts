import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameBuffer, type Framing } from '../../../src/sinks/syslog/frame-buffer.js';
import { CountedReader, chunked } from './receivers.js';

const text = fc.string({ unit: 'grapheme', maxLength: 200 });
const message = fc.oneof(
  { weight: 5, arbitrary: text },
  { weight: 2, arbitrary: fc.constant('a\nb\r\nc\n') },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 140_000 }).map((length) => 'x'.repeat(length)) },
);

/** As RFC 6587 has it. */
const expectedFrame = (one: string, framing: Framing): string =>
  framing === 'newline' ? `${one.replace(/\r?\n/g, ' ')}\n` : `${Buffer.byteLength(one)} ${one}`;

function frame(one: string, framing: Framing): string {
  const frames = new FrameBuffer();
  frames.add(Buffer.from(one), framing);
  return frames.take().toString();
}

describe('frames', () => {
  it('are those of the messages, whole and in order, wherever they are taken', () => {
    const given = fc.array(
      fc.record({ one: message, how: fc.constantFrom('octet-counting', 'newline', 'relp'), take: fc.nat(9) }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(given, (list) => {
        const frames = new FrameBuffer();
        const taken: Buffer[] = [];
        let expected = '';
        for (const { one, how, take } of list) {
          if (how === 'relp') {
            frames.addCounted(Buffer.from(one), '4711 syslog ', '\n');
            expected += `4711 syslog ${expectedFrame(one, 'octet-counting')}\n`;
          } else {
            frames.add(Buffer.from(one), how as Framing);
            expected += expectedFrame(one, how as Framing);
          }
          if (take === 0) taken.push(frames.take());
        }
        taken.push(frames.take());
        expect(frames.length).toBe(0);
        // What was taken is not written over: the socket may still hold it.
        expect(Buffer.concat(taken).toString()).toBe(expected);
      }),
      { numRuns: 300 },
    );
  });

  it('are whole if they end at, before or behind the end of the memory', () => {
    const around = fc.record({
      filled: fc.integer({ min: 0, max: 110_000 }),
      off: fc.integer({ min: -20, max: 20 }),
      relp: fc.boolean(),
    });
    fc.assert(
      fc.property(around, ({ filled, off, relp }) => {
        const frames = new FrameBuffer();
        const [before, after] = relp ? ['4711 syslog ', '\n'] : ['', ''];
        const add = (size: number) => {
          frames.addCounted(Buffer.alloc(size, 'x'), before, after);
          return `${before}${size} ${'x'.repeat(size)}${after}`;
        };
        const expected = add(filled);
        const rest = add(Math.max(0, 128 * 1024 - expected.length - before.length - 5 + off)) + add(3);
        expect(frames.take().toString('latin1') === expected + rest).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe('octet counting', () => {
  it('counts bytes, not characters', () => {
    expect(frame('<86>1 żółw', 'octet-counting')).toBe('13 <86>1 żółw');
  });

  it('is read back, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 }), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
        (messages, cuts) => {
          const reader = new CountedReader();
          const stream = messages.map((one) => frame(one, 'octet-counting')).join('');
          for (const chunk of chunked(Buffer.from(stream), cuts)) reader.push(chunk);
          expect(reader.messages).toEqual(messages);
        },
      ),
    );
  });
});

describe('newline framing', () => {
  it('keeps any message on one line', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1 }), (messages) => {
        const lines = messages
          .map((one) => frame(one, 'newline'))
          .join('')
          .split('\n');
        expect(lines).toHaveLength(messages.length + 1);
      }),
    );
  });

  it('changes nothing where there is no line end', () => {
    expect(frame('<86>1 a', 'newline')).toBe('<86>1 a\n');
    expect(frame('a\nb\r\nc', 'newline')).toBe('a b c\n');
  });
});
