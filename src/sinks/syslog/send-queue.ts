import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { endianness } from 'node:os';

/** The two ends of a TCP connection. */
export interface Ends {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

/** What the kernel still holds for the other side. */
export interface SendQueue {
  /** Bytes sent or waiting, not acknowledged by the other side's kernel. */
  readonly unacknowledged: number;
  /** The other side answers, but has no room: its program does not read. */
  readonly windowClosed: boolean;
}

const ZERO_WINDOW_PROBE = 4;

/**
 * The send queue of one connection, from the kernel's table: what TCP_USER_TIMEOUT and TIOCOUTQ would be for, which
 * Node does not reach. Null where the table can't be read or does not have the connection.
 *
 * Measured: 5 ms with a dozen connections on a host with 24 GB (the kernel walks its whole hash table), 45 ms with 16,000.
 * So it is read off the main thread, and only while something is not acknowledged.
 */
export async function readSendQueue(ends: Ends): Promise<SendQueue | null> {
  try {
    const path = isIPv6(ends.localAddress) ? '/proc/self/net/tcp6' : '/proc/self/net/tcp';
    return findSendQueue(await readFile(path, 'latin1'), ends);
  } catch {
    return null;
  }
}

/** Looks a connection up in the text of /proc/net/tcp or tcp6 (proc(5)). */
export function findSendQueue(table: string, ends: Ends): SendQueue | null {
  const key = ` ${hexAddress(ends.localAddress)}:${hexPort(ends.localPort)} ${hexAddress(ends.remoteAddress)}:${hexPort(ends.remotePort)} `;
  const at = table.indexOf(key);
  if (at < 0) return null;
  const match = /^[0-9A-F]{2} ([0-9A-F]{8}):[0-9A-F]{8} ([0-9A-F]{2}):/.exec(
    table.slice(at + key.length, at + key.length + 32),
  );
  if (match === null) return null;
  return {
    unacknowledged: Number.parseInt(match[1] ?? '', 16),
    windowClosed: Number.parseInt(match[2] ?? '', 16) === ZERO_WINDOW_PROBE,
  };
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0');
}

/** Network byte order, printed as 32-bit words of the host. */
function hexAddress(address: string): string {
  const bytes = isIPv6(address) ? ipv6Bytes(address) : address.split('.').map(Number);
  let hex = '';
  for (let word = 0; word < bytes.length; word += 4) {
    const four = bytes.slice(word, word + 4);
    if (endianness() === 'LE') four.reverse();
    hex += four.map((byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join('');
  }
  return hex;
}

function ipv6Bytes(address: string): number[] {
  let text = address.split('%')[0] ?? '';
  const dotted = /(?<!\d)(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(1).map(Number) as [number, number, number, number];
    text = `${text.slice(0, dotted.index)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? 0 : 8 - left.length - right.length;
  const words = [...left, ...Array<string>(Math.max(0, middle)).fill('0'), ...right].map((word) =>
    Number.parseInt(word, 16),
  );
  return words.flatMap((word) => [word >> 8, word & 255]);
}

/** The state of a connection in the kernel at one moment. */
export interface SocketSample {
  /** ms, monotonic. */
  readonly at: number;
  /** Bytes that the kernel has taken from us since the connection was made. */
  readonly accepted: number;
  /** Of these, bytes that the other side has not acknowledged (or more: headers of TLS count too). */
  readonly unacknowledged: number;
}

/** What is remembered between two samples. */
export interface ByteProgress {
  /** The most that was ever known to be acknowledged, bytes. */
  readonly acknowledged: number;
  /** When that was last more than before, or nothing was open, ms. */
  readonly since: number;
}

/** A sample this often, while something is not acknowledged. */
export const SAMPLE_MS = 4_000;
/** No progress for so long: with sampling and connecting this stays within 30 s. */
export const STALLED_MS = 20_000;

/**
 * Judges by bytes acknowledged, not by writes that returned: the kernel takes megabytes for a collector that is gone.
 * With TLS `unacknowledged` counts record headers and `accepted` does not, so that acknowledged bytes are underestimated by
 * what is in flight; they still rise with every acknowledgement of more than that, and never without one.
 */
export function progressBetween(before: ByteProgress, sample: SocketSample): ByteProgress {
  const acknowledged = sample.accepted - sample.unacknowledged;
  if (sample.unacknowledged === 0) {
    return { acknowledged: Math.max(acknowledged, before.acknowledged), since: sample.at };
  }
  return acknowledged > before.acknowledged ? { acknowledged, since: sample.at } : before;
}

export function isStalled(known: ByteProgress, now: number): boolean {
  return now - known.since >= STALLED_MS;
}
