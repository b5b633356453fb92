/**
 * Messages: events as the bytes that a sink sends or writes.
 *
 * Rows are converted to bytes while they are young, a few at a time, as they are read (shipping/page-collector.ts). The bytes wait for the
 * sinks outside V8's heap, with the place of each event. The garbage collector would move and mark waiting event objects again and again:
 * 1,000,000 rows into the audit file took 13.4 to 15.9 µs a row and 215 MB that way, and 10.8 µs and 145 MB this way, the start included
 * (Node 20, semi-space 4 MB, in turns on one machine).
 */
import type { AuditEvent } from '../audit/event.js';
import { formatted } from '../formats/format-fallback.js';
import type { Formatter } from '../formats/syslog-message.js';

/** Converts an event to a message: the same bytes each time. */
export interface Encoder {
  /** Equal for encoders that produce the same bytes: their sinks share messages. */
  readonly key: string;
  /** May throw; `last` is then used. */
  readonly format: Formatter;
  /** The minimal message of an event that can't be formatted; does not throw. */
  readonly last: (event: AuditEvent) => string;
  /** Appended to each message: nothing, or a line end. */
  readonly end: '' | '\n';
  /** Set if the texts stand for bytes, one character a byte; else they are written as UTF-8. */
  readonly isBinary?: true;
}

/** An event for which only the minimal message could be written, and why. */
export interface Unformatted {
  /** The place of the message. */
  readonly at: number;
  readonly event: AuditEvent;
  readonly error: unknown;
}

/** Hex digits of an `event.id`. */
const ID_LENGTH = 32;

/** Messages of one source and timeline, in the order of their rows. */
export interface Messages {
  readonly length: number;
  /** Row ids, ascending. */
  readonly sequences: Float64Array;
  /** All messages, one after the other. */
  readonly bytes: Buffer;
  /** Where each message ends in `bytes`; the next one begins there. */
  readonly ends: Uint32Array;
  readonly unformatted: readonly Unformatted[];
  /** The `event.id` of a message. */
  idAt(at: number): string;
}

/** The bytes of one message, not copied. */
export function messageAt({ bytes, ends }: Messages, at: number): Buffer {
  return bytes.subarray(at === 0 ? 0 : ends[at - 1], ends[at]);
}

/** The messages for which `isWanted` is true; the same object if it is true for all. */
export function selectMessages(
  from: Messages,
  isWanted: (sequence: number, id: string) => boolean,
): Messages {
  const kept: number[] = [];
  for (let at = 0; at < from.length; at++)
    if (isWanted(from.sequences[at] ?? 0, from.idAt(at))) kept.push(at);
  if (kept.length === from.length) return from;
  const memory = new MessageMemory(0);
  for (const at of kept) {
    const message = messageAt(from, at);
    memory.makeRoom(message.length);
    memory.end += message.copy(memory.bytes, memory.end);
    memory.close(from.sequences[at] ?? 0, from.idAt(at));
  }
  const unformatted = from.unformatted.flatMap((one) => {
    const at = kept.indexOf(one.at);
    return at < 0 ? [] : [{ ...one, at }];
  });
  return memory.messages(unformatted);
}

/** The messages of events. */
export function encode(encoder: Encoder, events: readonly AuditEvent[]): Messages {
  const buffer = new MessageBuffer(encoder, new MessageMemory(FIRST));
  for (const event of events) buffer.add(event);
  return buffer.messages();
}

/** With less free space than this the memory grows before the next message: most messages are shorter and are written in place. */
const ROOM = 12 * 1024;
const FIRST = 64 * 1024;
const FIRST_ROWS = 64;

/** Reusable memory for messages, outside V8's heap, whose collector would free it late. */
export class MessageMemory {
  bytes: Buffer;
  end = 0;
  private rows = 0;
  private ends = new Uint32Array(FIRST_ROWS);
  private sequences = new Float64Array(FIRST_ROWS);
  private ids = Buffer.allocUnsafeSlow(FIRST_ROWS * ID_LENGTH);

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }

  get length(): number {
    return this.rows;
  }

  clear(): void {
    this.end = 0;
    this.rows = 0;
  }

  makeRoom(bytes: number): void {
    if (this.bytes.length - this.end >= bytes) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.end + bytes));
    this.bytes.copy(grown, 0, 0, this.end);
    this.bytes = grown;
  }

  /** Ends the message of this row here. */
  close(sequence: number, id: string): void {
    if (this.rows === this.ends.length) this.growRows();
    this.ends[this.rows] = this.end;
    this.sequences[this.rows] = sequence;
    this.ids.write(id, this.rows * ID_LENGTH, ID_LENGTH, 'latin1');
    this.rows++;
  }

  /** Its contents, valid until it is reused. */
  messages(unformatted: readonly Unformatted[]): Messages {
    const { rows, ids } = this;
    return {
      length: rows,
      sequences: this.sequences.subarray(0, rows),
      bytes: this.bytes.subarray(0, this.end),
      ends: this.ends.subarray(0, rows),
      unformatted,
      idAt: (at) => ids.toString('latin1', at * ID_LENGTH, (at + 1) * ID_LENGTH),
    };
  }

  private growRows(): void {
    const length = this.ends.length * 4;
    const { ends, sequences, ids } = this;
    this.ends = new Uint32Array(length);
    this.ends.set(ends);
    this.sequences = new Float64Array(length);
    this.sequences.set(sequences);
    this.ids = Buffer.allocUnsafeSlow(length * ID_LENGTH);
    ids.copy(this.ids);
  }
}

/** Maximum number of pooled pieces: some pages of one or two formats. */
const FREE = 4;
/** A larger piece is not pooled: it was used for a page of very long rows. */
const MOST_KEPT = 8 * 2 ** 20;
/** A piece with a smaller used share is not pooled either: the backlog is over. */
const USED = 1 / 16;

/** Pool of the memory of delivered pages, for the next ones. */
export class MemoryPool {
  private readonly free: MessageMemory[] = [];

  take(): MessageMemory {
    return this.free.pop() ?? new MessageMemory(FIRST);
  }

  /** Called when nothing reads it any more. */
  give(memory: MessageMemory): void {
    const { length: size } = memory.bytes;
    const isTooLarge = size > MOST_KEPT || (size > FIRST && memory.end < size * USED);
    memory.clear();
    if (!isTooLarge && this.free.length < FREE) this.free.push(memory);
  }
}

/** Collects messages. */
export class MessageBuffer {
  private unformatted: Unformatted[] = [];

  constructor(
    private readonly encoder: Encoder,
    readonly memory: MessageMemory,
  ) {}

  /** Does not throw, whatever is in the event. */
  add(event: AuditEvent): void {
    const { memory } = this;
    const { format, last, end: terminator } = this.encoder;
    memory.makeRoom(ROOM);
    const written = this.writeInPlace(event);
    if (written < 0) {
      const note = (_: AuditEvent, error: unknown) =>
        this.unformatted.push({ at: memory.length, event, error });
      const text = formatted(event, format, last, note) + terminator;
      memory.makeRoom(text.length * 3);
      memory.end += memory.bytes.write(text, memory.end, this.encoder.isBinary ? 'latin1' : 'utf8');
    } else {
      memory.end = written;
      if (terminator !== '') memory.bytes[memory.end++] = NEWLINE;
    }
    memory.close(event.sequence, event.id);
  }

  messages(): Messages {
    return this.memory.messages(this.unformatted);
  }

  private writeInPlace(event: AuditEvent): number {
    const { write } = this.encoder.format;
    if (write === undefined) return -1;
    const { bytes, end } = this.memory;
    try {
      const written = write(event, bytes, end);
      return written < bytes.length ? written : -1;
    } catch {
      return -1; // formatting as text is tried next, and reports the error
    }
  }
}

const NEWLINE = 10;
