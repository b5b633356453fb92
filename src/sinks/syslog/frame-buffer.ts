/** How messages are separated in a byte stream (RFC 6587 section 3.4). */
export type Framing = 'octet-counting' | 'newline';

/** Memory is taken in pieces of this size; what has been taken is not written over, as the socket still holds it. */
const SLAB = 128 * 1024;
const LF = 10;

/** Frames joined for one write. */
export class FrameBuffer {
  private memory: Buffer = Buffer.alloc(0);
  private begin = 0;
  private end = 0;

  /** Bytes that are ready to be taken. */
  get length(): number {
    return this.end - this.begin;
  }

  /** `LENGTH SP MESSAGE`, length in bytes (RFC 6587 section 3.4.1, RFC 5425 section 4.3), and around it what RELP has there: ASCII. */
  addCounted(message: Buffer, before = '', after = ''): void {
    const start = `${before}${message.length} `;
    this.makeRoom(start.length + message.length + after.length);
    this.end += this.memory.write(start, this.end, 'latin1');
    this.end += message.copy(this.memory, this.end);
    if (after !== '') this.end += this.memory.write(after, this.end, 'latin1');
  }

  /** `MESSAGE LF` (RFC 6587 section 3.4.2). A line end inside of a message would break the frame: it becomes a space. */
  addLine(message: Buffer): void {
    const line = message.includes(LF) ? Buffer.from(message.toString().replace(/\r?\n/g, ' ')) : message;
    this.makeRoom(line.length + 1);
    this.end += line.copy(this.memory, this.end);
    this.memory[this.end++] = LF;
  }

  add(message: Buffer, framing: Framing): void {
    if (framing === 'newline') this.addLine(message);
    else this.addCounted(message);
  }

  /** What has been added since the last time. */
  take(): Buffer {
    const taken = this.memory.subarray(this.begin, this.end);
    this.begin = this.end;
    return taken;
  }

  private makeRoom(needed: number): void {
    if (this.memory.length - this.end >= needed) return;
    const kept = this.memory.subarray(this.begin, this.end);
    this.memory = Buffer.allocUnsafeSlow(Math.max(SLAB, kept.length + needed));
    this.begin = 0;
    this.end = kept.copy(this.memory);
  }
}
