import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { jetstreamSink } from '../../../src/config/jetstream.js';
import { createJetstreamSink } from '../../../src/sinks/jetstream/jetstream-sink.js';
import { dependencies } from '../files/files-fixture.js';
import { listen, type TestServer } from '../syslog/receivers.js';

const INFO = { server_id: 'T', version: '2.10.0', proto: 1, headers: true, max_payload: 2 ** 20 };

/** Speaks the protocol as far as a connection to stand needs it, and answers no request. */
function greet(socket: Socket, onRequest: () => void = () => undefined): void {
  socket.on('data', (chunk: Buffer) => {
    if (chunk.includes('PING\r\n')) socket.write('PONG\r\n');
    if (chunk.includes('$JS.API.STREAM.INFO')) onRequest();
  });
  socket.write(`INFO ${JSON.stringify(INFO)}\r\n`);
}

const running: TestServer[] = [];

afterEach(async () => {
  for (const server of running.splice(0)) await server.close();
});

async function servers(count: number, onConnection: (socket: Socket) => void = () => undefined) {
  const all: TestServer[] = [];
  for (let n = 0; n < count; n++) all.push(await listen(onConnection));
  running.push(...all);
  const config = jetstreamSink.parse({
    type: 'jetstream',
    servers: all.map(({ target }) => `nats://${target}`),
    connect_timeout: '30s',
  });
  return { all, sink: createJetstreamSink(config, 'web1', dependencies().deps) };
}

describe('NATS servers that take connections and say nothing', () => {
  it('silent NATS servers do not delay a stop, and a late connection is closed', async () => {
    const { all, sink } = await servers(3);
    const aborting = new AbortController();
    const opening = sink.open(null, aborting.signal);
    await expect.poll(() => all[0]?.sockets.length).toBe(1);
    aborting.abort();
    await expect(opening).rejects.toThrow(/aborted/);
    const socket = all[0]?.sockets[0] as Socket;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    greet(socket);
    await closed;
    expect(all.slice(1).map(({ sockets }) => sockets.length)).toEqual([0, 0]);
  });

  it('NATS servers that answer no request do not delay a stop', async () => {
    const aborting = new AbortController();
    let markClosed: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => {
      markClosed = resolve;
    });
    const { sink } = await servers(1, (socket) => {
      socket.once('close', markClosed);
      greet(socket, () => aborting.abort());
    });
    await expect(sink.open(null, aborting.signal)).rejects.toThrow(/aborted/);
    await closed;
  });
});
