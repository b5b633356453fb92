import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  MAX_TXNR,
  nextTxnr,
  parseAnswer,
  type RelpFrame,
  RelpParser,
  RelpSyntaxError,
  relpFrame,
} from '../../../src/sinks/syslog/relp-frame.js';
import { chunked, RelpReader } from './receivers.js';

const frame = fc.record({
  txnr: fc.integer({ min: 0, max: MAX_TXNR }),
  command: fc.string({ unit: fc.constantFrom(...'abcxyzABCXYZ'), minLength: 1, maxLength: 32 }),
  data: fc.string({ unit: 'grapheme', maxLength: 200 }),
});
const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 30 }));

function parse(chunks: Iterable<Buffer>): RelpFrame[] {
  const parser = new RelpParser();
  const frames: RelpFrame[] = [];
  for (const chunk of chunks) parser.push(chunk, (found) => frames.push(found));
  return frames;
}

describe('RELP frames', () => {
  it('RELP frames are parsed however the stream is split', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), cuts, (frames, sizes) => {
        const stream = Buffer.from(frames.map((f) => relpFrame(f.txnr, f.command, f.data)).join(''));
        expect(parse(chunked(stream, sizes))).toEqual(frames);
      }),
    );
  });

  it('RELP frames are written as another parser of the grammar expects', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 20 }), (frames) => {
        const stream = Buffer.from(frames.map((f) => relpFrame(f.txnr, f.command, f.data)).join(''));
        const read = new RelpReader().push(stream);
        expect(read).toEqual(frames.map((f) => ({ ...f, txnr: String(f.txnr) })));
      }),
    );
  });

  it('RELP frames without data have no space after the length', () => {
    expect(relpFrame(7, 'close', '')).toBe('7 close 0\n');
    expect(parse([Buffer.from('7 rsp 0\n0 serverclose 0\n')])).toEqual([
      { txnr: 7, command: 'rsp', data: '' },
      { txnr: 0, command: 'serverclose', data: '' },
    ]);
  });

  it('an incomplete RELP frame waits for more data', () => {
    expect(parse([Buffer.from('1 rsp 6 200 O')])).toEqual([]);
    expect(parse([Buffer.from('1 rsp 6 200 OK')])).toEqual([]);
  });

  it.each([
    ['', ' rsp 6 200 OK\n'],
    ['letters for a number', 'x rsp 6 200 OK\n'],
    ['a number of ten digits', '1234567890 rsp 6 200 OK\n'],
    ['a command with a digit', '1 rs2 6 200 OK\n'],
    ['a command of 33 letters', `1 ${'a'.repeat(33)} 0\n`],
    ['no command', '1  6 200 OK\n'],
    ['no length', '1 rsp \n'],
    ['a negative length', '1 rsp -1 \n'],
    ['a length that is too small', '1 rsp 5 200 OK\n'],
    ['a space behind length 0', '1 rsp 0 \n'],
    ['an answer that is larger than any answer is', '1 rsp 99999999 '],
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n'],
    ['TLS', Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02]).toString('latin1')],
  ])('an invalid RELP frame is rejected: %s', (_, text) => {
    expect(() => parse([Buffer.from(text, 'latin1')])).toThrow(RelpSyntaxError);
    // Byte by byte the same is found.
    expect(() => parse([...Buffer.from(text, 'latin1')].map((byte) => Buffer.from([byte])))).toThrow(
      RelpSyntaxError,
    );
  });

  it('the RELP parser never hangs or fails on noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), cuts, (noise, sizes) => {
        try {
          parse(chunked(Buffer.from(noise), sizes));
        } catch (error) {
          expect(error).toBeInstanceOf(RelpSyntaxError);
        }
      }),
    );
  });
});

describe('transaction numbers', () => {
  it.each([
    [1, 2],
    [999_999_998, 999_999_999],
    [999_999_999, 1],
  ])('transaction number %i is followed by %i', (txnr, next) => expect(nextTxnr(txnr)).toBe(next));
});

describe('answers', () => {
  it('RELP answers have a code, a text and offers', () => {
    expect(
      parseAnswer('200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://x\ncommands=syslog\n'),
    ).toEqual({
      code: 200,
      text: 'OK',
      offers: new Map([
        ['relp_version', '0'],
        ['relp_software', 'librelp,1.11.0,http://x'],
        ['commands', 'syslog'],
      ]),
    });
    expect(parseAnswer('500')).toEqual({ code: 500, text: '', offers: new Map() });
  });

  it.each(['', 'OK', '20 OK', '2000 OK', '200OK'])('a RELP answer without a code is rejected: %j', (data) => {
    expect(() => parseAnswer(data)).toThrow(RelpSyntaxError);
  });
});
