import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AuditEvent } from '../../../src/audit/event.js';
import type { Batch } from '../../../src/sinks/sink.js';
import { MonitoredSocket } from '../../../src/sinks/syslog/monitored-socket.js';
import { StreamSession } from '../../../src/sinks/syslog/stream-session.js';
import { messageBatch } from '../../support/deliver.js';
import { batch } from '../files/files-fixture.js';
import { CountedReader, listen, type TestServer } from './receivers.js';

const never = new AbortController().signal;
const LIMIT_MS = 100;
/** More than two kernels hold between them. */
const EVENTS = 2_500;
const PAD = 'x'.repeat(8_000);

const format = ({ source, sequence }: AuditEvent) => `${source} ${sequence} ${PAD}`;

describe('a stream over a line that is slower than the events', () => {
  let server: TestServer;
  let session: StreamSession;
  let reader: CountedReader;

  beforeEach(async () => {
    reader = new CountedReader();
    server = await listen(() => undefined, 0, { pauseOnConnect: true });
    const socket = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    await new Promise((resolve) => socket.once('connect', resolve));
    await expect.poll(() => server.sockets.length).toBe(1);
    const link = new MonitoredSocket(socket, { target: 'slow', ends: null });
    session = new StreamSession('slow', link, null, 'octet-counting', LIMIT_MS);
  });

  afterEach(async () => {
    session.link.destroy(new Error('over') as never);
    await server.close();
  });

  /** The collector reads about so many bytes, then no more. */
  function read(bytes: number): Promise<void> {
    const [socket] = server.sockets;
    let open = bytes;
    return new Promise((resolve) => {
      const onData = (chunk: Buffer) => {
        reader.push(chunk);
        open -= chunk.length;
        if (open > 0) return;
        socket?.pause();
        socket?.removeListener('data', onData);
        resolve();
      };
      socket?.on('data', onData).resume();
    });
  }

  const got = () => reader.messages.map((message) => message.split(' ', 2).join(' '));
  const rows = (source: string, to: number) => Array.from({ length: to }, (_, n) => `${source} ${n + 1}`);

  it('a timed-out delivery counts the bytes that the kernel accepted, and writes no bytes in flight twice', async () => {
    let cursor = 0;
    let [parts, none, bytes] = [0, 0, 0];
    while (cursor < EVENTS) {
      const { count, ...sent } = await session.send(messageBatch(batch(cursor + 1, EVENTS), format), never);
      cursor += count;
      bytes += sent.bytes;
      if (cursor === EVENTS) break;
      if (count > 0) parts++;
      else none++;
      expect(session.link.pending).toBeLessThan(256 * 1024);
      if (count === 0) await read(2 ** 20);
    }
    expect(parts).toBeGreaterThan(1);
    expect(none).toBeGreaterThan(0);
    expect(bytes).toBe(session.link.bytes);
    server.sockets[0]?.on('data', (chunk: Buffer) => reader.push(chunk)).resume();
    await expect.poll(() => reader.messages.length, { timeout: 20_000 }).toBe(EVENTS);
    expect(got()).toEqual(rows('postern', EVENTS));
  });

  it('a slow stream continues with another source and with replayed rows', async () => {
    const kinds: Batch[] = [
      batch(1, 1_250),
      batch(1, 1_250, { source: 'auditd' }),
      { ...batch(1, 10), replay: true },
    ];
    const cursors = [0, 0, 0];
    const ends = [1_250, 1_250, 10];
    while (cursors.some((cursor, n) => cursor < (ends[n] ?? 0))) {
      for (const [n, kind] of kinds.entries()) {
        const events = kind.events.slice(cursors[n]);
        if (events.length === 0) continue;
        const { count } = await session.send(messageBatch({ ...kind, events }, format), never);
        cursors[n] = (cursors[n] ?? 0) + count;
        if (count === 0) await read(2 ** 20);
      }
    }
    server.sockets[0]?.on('data', (chunk: Buffer) => reader.push(chunk)).resume();
    await expect.poll(() => reader.messages.length, { timeout: 20_000 }).toBe(2_510);
    expect(got().filter((message) => message.startsWith('auditd'))).toEqual(rows('auditd', 1_250));
    expect(got().filter((message) => message.startsWith('postern')).length).toBe(1_260);
  });

  it('a stream reports why a delivery was aborted', async () => {
    const aborting = new AbortController();
    const full = async () => {
      for (;;) await session.send(messageBatch(batch(1, EVENTS), format), aborting.signal);
    };
    const sending = full();
    setTimeout(() => aborting.abort(new Error('not delivered within 60 s')), 50);
    await expect(sending).rejects.toThrow(/slow: aborted \(not delivered within 60 s\)\. The sink retries/);
  });
});
