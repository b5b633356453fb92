import type { AuditEvent } from '../../audit/event.js';
import type { Formatter } from '../../formats/syslog-message.js';

/** How messages are separated in a byte stream (RFC 6587 section 3.4). */
export type Framing = 'octet-counting' | 'newline';

/** `LENGTH SP MESSAGE`, length in bytes (RFC 6587 section 3.4.1, RFC 5425 section 4.3). */
export function countedFrame(message: string): string {
  return `${Buffer.byteLength(message)} ${message}`;
}

/** `MESSAGE LF` (RFC 6587 section 3.4.2). A line end inside of a message would break the frame: it becomes a space. */
export function lineFrame(message: string): string {
  return message.includes('\n') ? `${message.replace(/\r?\n/g, ' ')}\n` : `${message}\n`;
}

/** Memory is taken in pieces of this size; what has been taken is not written over, as the socket still holds it. */
const SLAB = 128 * 1024;
/** With less than this left of one the next begins. */
const ROOM = 12 * 1024;
const LF = 10;

/** Frames joined for one write, the messages written in place if the format supports it. */
export class FrameBuffer {
  private memory: Buffer = Buffer.alloc(0);
  private begin = 0;
  private end = 0;
  /** Digits of the last frame's length: the next one most likely has as many. */
  private digits = 3;

  constructor(private readonly format: Formatter) {}

  /** Bytes that are ready to be taken. */
  get length(): number {
    return this.end - this.begin;
  }

  /** `LENGTH SP MESSAGE`, and around it what RELP has there. */
  addCounted(event: AuditEvent, before = '', after = ''): void {
    const start = this.room() + before.length;
    const body = start + this.digits + 1;
    const end = this.format.write?.(event, this.memory, body) ?? -1;
    const length = String(end - body);
    const moved = length.length - this.digits;
    if (end < 0 || end + moved + after.length > this.memory.length) {
      this.addText(before + countedFrame(this.format(event)) + after);
      return;
    }
    if (moved !== 0) {
      this.memory.copyWithin(body + moved, body, end);
      this.digits = length.length;
    }
    this.memory.write(`${before}${length} `, this.end, 'latin1');
    this.end = end + moved;
    if (after !== '') this.end += this.memory.write(after, this.end, 'latin1');
  }

  /** `MESSAGE LF`. */
  addLine(event: AuditEvent): void {
    const start = this.room();
    const end = this.format.write?.(event, this.memory, start) ?? -1;
    if (end < 0 || end >= this.memory.length || this.memory.subarray(start, end).includes(LF)) {
      this.addText(lineFrame(this.format(event)));
      return;
    }
    this.memory[end] = LF;
    this.end = end + 1;
  }

  add(event: AuditEvent, framing: Framing): void {
    if (framing === 'newline') this.addLine(event);
    else this.addCounted(event);
  }

  /** What has been added since the last time. */
  take(): Buffer {
    const taken = this.memory.subarray(this.begin, this.end);
    this.begin = this.end;
    return taken;
  }

  private addText(text: string): void {
    this.room(Buffer.byteLength(text));
    this.end += this.memory.write(text, this.end);
  }

  /** Where the next frame begins; makes sure that there is room behind it. */
  private room(needed = 0): number {
    if (this.memory.length - this.end >= Math.max(ROOM, needed)) return this.end;
    const kept = this.memory.subarray(this.begin, this.end);
    this.memory = Buffer.allocUnsafeSlow(Math.max(SLAB, kept.length + needed + ROOM));
    this.begin = 0;
    this.end = kept.copy(this.memory);
    return this.end;
  }
}
