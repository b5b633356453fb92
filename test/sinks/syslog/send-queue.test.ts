import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type ByteProgress,
  findSendQueue,
  isStalled,
  progressBetween,
  readSendQueue,
  SAMPLE_MS,
  type SocketSample,
  STALLED_MS,
} from '../../../src/sinks/syslog/send-queue.js';
import { endsOf } from '../../../src/sinks/syslog/tcp.js';

/** A connection to a server that never reads, and the way to its end. */
async function unread(host: string) {
  const server = net.createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as net.AddressInfo;
  const socket = net.connect({ host, port });
  socket.on('error', () => undefined);
  const connected = new Promise((resolve) => socket.once('connect', resolve));
  const accepted = await new Promise<net.Socket>((resolve) => server.once('connection', resolve));
  await connected;
  accepted.on('error', () => undefined);
  const close = () => {
    socket.destroy();
    accepted.destroy();
    server.close();
  };
  const ends = endsOf(socket);
  if (ends === null) throw new Error('no ends');
  return { socket, accepted, ends, close };
}

describe.each(['127.0.0.1', '::1'])('the send queue of a connection to %s', (host) => {
  it('the send queue is empty after all acknowledgements, full without a reader, and gone with the connection', async () => {
    const { socket, accepted, ends, close } = await unread(host);
    try {
      socket.write('x');
      await sleep(100);
      expect(await readSendQueue(ends)).toEqual({ unacknowledged: 0, windowClosed: false });
      socket.write(Buffer.alloc(64 * 2 ** 20));
      await sleep(1_500);
      const full = await readSendQueue(ends);
      expect(full?.unacknowledged).toBeGreaterThan(10_000);
      expect(full?.windowClosed).toBe(true);
      accepted.resume();
      await expect
        .poll(() => readSendQueue(ends), { timeout: 10_000 })
        .toEqual({ unacknowledged: 0, windowClosed: false });
    } finally {
      close();
    }
    await expect
      .poll(() => readSendQueue(ends).then((queue) => queue === null || queue.unacknowledged === 0))
      .toBe(true);
  });
});

describe('the table of the kernel', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:D431 0100007F:1F90 01 0000ABCD:00000000 04:00000A00 00000000     0        3 2 2 0 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:D431 01 00000001:00000000 01:00000A00 00000005     0        0 3 2 0 20 4 30 10 -1
`;
  const ends = {
    localAddress: '127.0.0.1',
    localPort: 54_321,
    remoteAddress: '127.0.0.1',
    remotePort: 8_080,
  };

  it("the kernel's table identifies a connection by both ends", () => {
    expect(findSendQueue(table, ends)).toEqual({ unacknowledged: 0xabcd, windowClosed: true });
    const other = { ...ends, localPort: 8_080, remotePort: 54_321 };
    expect(findSendQueue(table, other)).toEqual({ unacknowledged: 1, windowClosed: false });
    expect(findSendQueue(table, { ...ends, remoteAddress: '127.0.0.2' })).toBeNull();
    expect(findSendQueue('', ends)).toBeNull();
  });

  it("the kernel's table has IPv6 addresses in words of four bytes", () => {
    const line =
      '   0: B80D0120000000000000000001000000:0202 B80D0120000000000000000002000000:1A0A 01 0000000A:00000000 01:0 0';
    const six = {
      localAddress: '2001:db8::1',
      localPort: 514,
      remoteAddress: '2001:db8::2',
      remotePort: 6_666,
    };
    expect(findSendQueue(line, six)).toEqual({ unacknowledged: 10, windowClosed: false });
    const mapped =
      '   0: 0000000000000000FFFF00000100007F:0202 0000000000000000FFFF00000100007F:1A0A 01 00000007:00000000 00:0 0';
    const four = { ...six, localAddress: '::ffff:127.0.0.1', remoteAddress: '::ffff:127.0.0.1' };
    expect(findSendQueue(mapped, four)?.unacknowledged).toBe(7);
  });
});

/** Looks each 4 s at `[accepted, unacknowledged]`; the second at which it counts as stalled, null if it does not. */
function judge(samples: ReadonlyArray<readonly [number, number]>): number | null {
  let known: ByteProgress = { acknowledged: 0, since: 0 };
  for (const [index, [accepted, unacknowledged]] of samples.entries()) {
    const sample: SocketSample = { at: (index + 1) * SAMPLE_MS, accepted, unacknowledged };
    known = progressBetween(known, sample);
    if (isStalled(known, sample.at)) return sample.at / 1_000;
  }
  return null;
}

const steps = (count: number, at: (n: number) => readonly [number, number]) =>
  Array.from({ length: count }, (_, n) => at(n + 1));

describe('a connection', () => {
  it('a connection is stalled 20 s after the last acknowledgement, and noticed within 30 s', () => {
    expect(judge(steps(20, () => [1_000, 1_000]))).toBe(20);
    expect(STALLED_MS + 2 * SAMPLE_MS).toBeLessThan(30_000);
  });

  it.each<[string, Array<readonly [number, number]>]>([
    ['all is acknowledged', steps(20, () => [1_000, 0])],
    ['acknowledgements keep coming', steps(20, (n) => [5_000, 5_000 - n])],
    ['what is sent and what is acknowledged keep step', steps(20, (n) => [n * 1_000, 900])],
    ['TLS headers count on one side only', steps(20, (n) => [n * 1_000, 970])],
    ['it is idle again and again', steps(20, (n) => [1_000, n % 3 === 0 ? 0 : 100])],
  ])('a connection is not stalled while %s', (_, samples) => expect(judge(samples)).toBeNull());

  it('a connection to a dead collector is stalled although the kernel accepts bytes', () => {
    expect(judge([[1_000, 0], ...steps(20, (n) => [1_000 + n * 100, n * 100] as const)])).toBe(24);
  });

  it('a connection is stalled if a hung program keeps its window closed', () => {
    expect(judge([[4_000_000, 100], ...steps(20, () => [4_000_000, 2_500_000] as const)])).toBe(24);
  });
});
