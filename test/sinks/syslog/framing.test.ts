import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countedFrame, lineFrame } from '../../../src/sinks/syslog/framing.js';
import { CountedReader, chunked } from './receivers.js';

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
  it('keeps one message on one line, whatever is in it', () => {
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
