/** A frame of RELP: `TXNR SP COMMAND SP DATALEN [SP DATA] LF`. */
export interface RelpFrame {
  /** 1 to 999,999,999; 0 for a hint. */
  readonly txnr: number;
  readonly command: string;
  readonly data: string;
}

/** The contents of a `rsp`. */
export interface RelpAnswer {
  readonly code: number;
  readonly text: string;
  /** Offers of an answer to `open`, by name. */
  readonly offers: ReadonlyMap<string, string>;
}

export const MAX_TXNR = 999_999_999;
/** Answers are short; more than this is not RELP. */
const MAX_DATA = 65_536;
const MAX_COMMAND = 32;
const MAX_DIGITS = 9;

const SP = 0x20;
const LF = 0x0a;

export function nextTxnr(txnr: number): number {
  return txnr >= MAX_TXNR ? 1 : txnr + 1;
}

/** One frame as text; data of no length has no space before it. */
export function relpFrame(txnr: number, command: string, data: string): string {
  return data === '' ? `${txnr} ${command} 0\n` : `${txnr} ${command} ${Buffer.byteLength(data)} ${data}\n`;
}

/** The other side does not speak RELP, or not as it should. */
export class RelpSyntaxError extends Error {}

/**
 * Frames out of a byte stream that is cut anywhere. Strict: what is not a frame of the grammar throws, and the connection is
 * of no more use, as the start of the next frame is unknown.
 */
export class RelpParser {
  private rest: Buffer = Buffer.alloc(0);

  /** Calls back for each complete frame, in order. @throws RelpSyntaxError */
  push(chunk: Buffer, onFrame: (frame: RelpFrame) => void): void {
    let buffer = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    this.rest = Buffer.alloc(0);
    while (at < buffer.length) {
      const next = parseFrame(buffer, at, onFrame);
      if (next === null) break;
      at = next;
    }
    if (at < buffer.length) {
      buffer = buffer.subarray(at);
      this.rest = Buffer.from(buffer);
    }
  }
}

/** Offset after the frame that begins at `start`; null if it is incomplete. */
function parseFrame(buffer: Buffer, start: number, onFrame: (frame: RelpFrame) => void): number | null {
  const txnr = parseNumber(buffer, start);
  if (txnr === null) return null;
  expectByte(buffer, txnr.end, SP, 'transaction number');
  const command = parseCommand(buffer, txnr.end + 1);
  if (command === null) return null;
  const length = parseNumber(buffer, command.end + 1);
  if (length === null) return null;
  if (length.value > MAX_DATA) throw new RelpSyntaxError(`a frame of ${length.value} bytes`);
  const dataStart = length.value === 0 ? length.end : length.end + 1;
  if (length.value > 0) expectByte(buffer, length.end, SP, 'data length');
  const end = dataStart + length.value;
  if (end >= buffer.length) return null;
  expectByte(buffer, end, LF, 'data');
  onFrame({ txnr: txnr.value, command: command.text, data: buffer.toString('utf8', dataStart, end) });
  return end + 1;
}

/** A number and the offset of the byte after it; null if that byte has not arrived yet. */
function parseNumber(buffer: Buffer, start: number): { value: number; end: number } | null {
  let value = 0;
  let at = start;
  for (; at < buffer.length; at++) {
    const digit = (buffer[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) break;
    if (at - start >= MAX_DIGITS) throw new RelpSyntaxError('a number of more than 9 digits');
    value = value * 10 + digit;
  }
  if (at === start && at < buffer.length)
    throw new RelpSyntaxError(`byte ${buffer[at]} where a number should be`);
  return at === buffer.length ? null : { value, end: at };
}

function parseCommand(buffer: Buffer, start: number): { text: string; end: number } | null {
  let at = start;
  for (; at < buffer.length; at++) {
    const letter = (buffer[at] ?? 0) | 0x20;
    if (letter < 0x61 || letter > 0x7a) break;
    if (at - start >= MAX_COMMAND) throw new RelpSyntaxError('a command of more than 32 letters');
  }
  if (at === buffer.length) return null;
  if (at === start) throw new RelpSyntaxError(`byte ${buffer[at]} where a command should be`);
  expectByte(buffer, at, SP, 'command');
  return { text: buffer.toString('latin1', start, at), end: at };
}

function expectByte(buffer: Buffer, at: number, byte: number, behind: string): void {
  if (at < buffer.length && buffer[at] !== byte)
    throw new RelpSyntaxError(`byte ${buffer[at]} behind the ${behind}`);
}

/** Nearly every answer is this one. */
const TAKEN: RelpAnswer = { code: 200, text: 'OK', offers: new Map() };

/** Reads the data of a `rsp`: `CODE [SP TEXT] [LF OFFERS]`. @throws RelpSyntaxError */
export function parseAnswer(data: string): RelpAnswer {
  if (data === '200 OK') return TAKEN;
  const match = /^(\d{3})(?: ([^\n]*))?(?:\n([\s\S]*))?$/.exec(data);
  if (match === null)
    throw new RelpSyntaxError(`an answer without a code: ${JSON.stringify(data.slice(0, 80))}`);
  const offers = new Map<string, string>();
  for (const line of (match[3] ?? '').split('\n')) {
    if (line === '') continue;
    const equals = line.indexOf('=');
    offers.set(equals < 0 ? line : line.slice(0, equals), equals < 0 ? '' : line.slice(equals + 1));
  }
  return { code: Number(match[1]), text: (match[2] ?? '').trim(), offers };
}
