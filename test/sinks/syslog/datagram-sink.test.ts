import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type AddressInfo, isIPv6 } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FormatFailures } from '../../../src/sinks/format-failures.js';
import type { Sink } from '../../../src/sinks/sink.js';
import { DatagramSink } from '../../../src/sinks/syslog/datagram-sink.js';
import { FailoverTargets } from '../../../src/sinks/syslog/failover.js';
import { createUdp, type Datagrams } from '../../../src/sinks/syslog/udp.js';
import { deliverEvents } from '../../support/deliver.js';
import { batch } from '../files/files-fixture.js';
import { syslog } from './syslog-fixture.js';

const never = new AbortController().signal;
const running: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  for (const each of running.splice(0)) await each.close();
});

function sinkFor(config: Record<string, unknown>): Sink {
  const sink = syslog(config, (event) => `event ${event.sequence}`);
  running.push(sink);
  return sink;
}

function lines(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `event ${from + n}`);
}

async function udpReceiver(port = 0, at = '127.0.0.1') {
  const got: string[] = [];
  const type = isIPv6(at) ? 'udp6' : 'udp4';
  const socket = dgram.createSocket({ type, recvBufferSize: 2 ** 20 });
  socket.on('message', (data) => got.push(data.toString()));
  await new Promise<void>((resolve) => socket.bind(port, at, resolve));
  const close = () => new Promise<void>((resolve) => socket.close(() => resolve()));
  return { got, port: (socket.address() as AddressInfo).port, close };
}

describe('UDP', () => {
  it('the UDP sink sends one message per datagram, in order', async () => {
    const { address } = await lookup('localhost'); // ::1 on a Debian, 127.0.0.1 elsewhere
    const receiver = await udpReceiver(0, address);
    running.push(receiver);
    const sink = sinkFor({ transport: 'udp', targets: [`localhost:${receiver.port}`, '127.0.0.1:9'] });
    expect(sink.deliveryClass).toBe('best effort');
    expect(await sink.open(null)).toBeNull();
    expect(await deliverEvents(sink, batch(1, 300), never)).toEqual({ upTo: 300 });
    await expect.poll(() => receiver.got.length).toBe(300);
    expect(receiver.got).toEqual(lines(1, 300));
    expect(sink.figures()).toMatchObject({ messages_total: 300, address });
  });

  it('the UDP sink reports a host without a listener, and resumes when there is one', async () => {
    const receiver = await udpReceiver();
    const { port } = receiver;
    await receiver.close();
    const sink = sinkFor({ transport: 'udp', targets: [`127.0.0.1:${port}`] });
    await sink.open(null);
    const failing = async () => {
      await deliverEvents(sink, batch(1, 2), never);
      await sleep(100);
      await sink.tick?.();
    };
    await expect(failing()).rejects.toThrow(/it refused/);
    const back = await udpReceiver(port);
    running.push(back);
    await sink.open(null);
    await deliverEvents(sink, batch(1, 2), never);
    await expect.poll(() => back.got).toEqual(lines(1, 2));
  });

  it('the UDP sink reports a name that does not resolve', async () => {
    const sink = sinkFor({ transport: 'udp', targets: ['no-such-host.invalid:514'] });
    await expect(sink.open(null)).rejects.toThrow(/no-such-host\.invalid:514: its name/);
  });

  it('the UDP sink is not opened after shipping has stopped', async () => {
    const sink = sinkFor({ transport: 'udp', targets: ['localhost:9', 'localhost:10'] });
    const aborting = new AbortController();
    const opening = sink.open(null, aborting.signal);
    aborting.abort(); // the name is being looked up
    await expect(opening).rejects.toThrow(/aborted/);
    expect(sink.figures().target).toBeNull();
  });

  it('the UDP sink tries the next target if the kernel refuses to connect', async () => {
    const receiver = await udpReceiver();
    running.push(receiver);
    const broadcast = '255.255.255.255:514'; // refused to a socket that did not ask for it, or that has no route
    const lone = sinkFor({ transport: 'udp', targets: [broadcast] });
    await expect(lone.open(null)).rejects.toThrow(/255\.255\.255\.255:514: .*(EACCES|ENETUNREACH)/);
    expect(lone.figures()).toMatchObject({ target: null, reconnects_total: 0 });
    const sink = sinkFor({ transport: 'udp', targets: [broadcast, `127.0.0.1:${receiver.port}`] });
    await sink.open(null);
    await deliverEvents(sink, batch(1, 2), never);
    await expect.poll(() => receiver.got).toEqual(lines(1, 2));
  });

  it('the UDP sink stops a long batch when shipping aborts it', async () => {
    const receiver = await udpReceiver();
    running.push(receiver);
    const sink = sinkFor({ transport: 'udp', targets: [`127.0.0.1:${receiver.port}`] });
    await sink.open(null);
    const aborting = new AbortController();
    const delivery = deliverEvents(sink, batch(1, 100_000), aborting.signal);
    setTimeout(() => aborting.abort(), 50);
    await expect(delivery).rejects.toThrow(/aborted/);
  });
});

function sinkTo(port: number, open: ReturnType<typeof createUdp>): Sink {
  const to = { host: 'collector', port, text: `collector:${port}` };
  const sink = new DatagramSink({
    targets: new FailoverTargets([{ kind: 'host', ...to }], 2_000, (_, { signal }) => open(to, signal)),
    burst: 32,
    pauseMs: 2,
    encoder: { key: 'test', format: (event) => `event ${event.sequence}`, last: () => '', end: '' },
    unformatted: new FormatFailures(pino({ level: 'silent' }), 'test'),
    check: () => Promise.resolve([]),
    log: pino({ level: 'silent' }),
  });
  running.push(sink);
  return sink;
}

describe('a name with several addresses, of which the collector has one', () => {
  const resolve = async () => ['127.0.0.2', '::1', '127.0.0.1'];

  it('the UDP sink finds the listening address of a name from the first message, and remembers it', async () => {
    const receiver = await udpReceiver();
    running.push(receiver);
    const sink = sinkTo(receiver.port, createUdp(resolve));
    await sink.open(null);
    expect(await deliverEvents(sink, batch(1, 100), never)).toEqual({ upTo: 100 });
    await expect.poll(() => receiver.got.length).toBe(100);
    expect(receiver.got).toEqual(lines(1, 100));
    expect(sink.figures()).toMatchObject({ address: '127.0.0.1', messages_total: 100 });
    await sink.open(null);
    expect(sink.figures()).toMatchObject({ address: '127.0.0.1' });
    await deliverEvents(sink, batch(101, 101), never);
    await expect.poll(() => receiver.got.at(-1)).toBe('event 101');
  });

  it('the UDP sink loses nothing while no address has a listener, and resumes when one has', async () => {
    const gone = await udpReceiver();
    const { port } = gone;
    await gone.close();
    const sink = sinkTo(port, createUdp(resolve));
    await sink.open(null);
    await expect(deliverEvents(sink, batch(1, 1), never)).rejects.toThrow(/collector:\d+: it refused/);
    const back = await udpReceiver(port);
    running.push(back);
    await sink.open(null);
    await deliverEvents(sink, batch(1, 1), never);
    await expect.poll(() => back.got).toEqual(['event 1']);
  });
});

describe('a name whose other address is of a host that takes all and answers nothing', () => {
  /** Of another host, of which silence proves nothing. */
  const elsewhere = (resolve: () => Promise<string[]>) => createUdp(resolve, () => false);

  async function toVoid(port: number): Promise<string[]> {
    const silent = dgram.createSocket('udp4');
    const taken: string[] = [];
    silent.on('message', (data) => taken.push(String(data)));
    await new Promise<void>((resolve) => silent.bind(port, '127.0.0.2', resolve));
    running.push({ close: () => new Promise<void>((resolve) => silent.close(() => resolve())) });
    return taken;
  }

  it('a silent address of a name gets nothing while the collector restarts', async () => {
    const before = await udpReceiver();
    const { port } = before;
    const taken = await toVoid(port);
    const sink = sinkTo(
      port,
      elsewhere(async () => ['127.0.0.1', '127.0.0.2']),
    );
    await sink.open(null);
    await deliverEvents(sink, batch(1, 2), never);
    await before.close();
    await sink.open(null);
    await expect(deliverEvents(sink, batch(3, 4), never)).rejects.toThrow(/it refused/);
    const back = await udpReceiver(port);
    running.push(back);
    await sink.open(null);
    await deliverEvents(sink, batch(3, 4), never);
    await expect.poll(() => back.got).toEqual(lines(3, 4));
    expect(taken).toEqual([]);
  });

  it('a silent address chosen before the collector started is left again', async () => {
    const gone = await udpReceiver();
    const { port } = gone;
    await gone.close();
    await toVoid(port);
    const sink = sinkTo(
      port,
      elsewhere(async () => ['127.0.0.1', '127.0.0.2']),
    );
    await sink.open(null);
    await deliverEvents(sink, batch(1, 1), never);
    expect(sink.figures()).toMatchObject({ address: '127.0.0.2' });
    const back = await udpReceiver(port);
    running.push(back);
    await sink.open(null);
    await deliverEvents(sink, batch(2, 2), never);
    await expect.poll(() => back.got).toEqual(['event 2']);
  });
});

describe('a socket that throws at a send', () => {
  it('a socket that throws at a send fails the delivery, is closed, and leaves no timer behind', async () => {
    let open = 0;
    const targets = new FailoverTargets<Datagrams>(
      [{ kind: 'path', path: '/x', text: '/x' }],
      1_000,
      async () => {
        const broken = ++open === 1;
        return {
          target: '/x',
          address: null,
          failed: null,
          send: (_, onDone) => {
            if (broken) throw new Error('Not running');
            setImmediate(onDone, null);
          },
          close: () => undefined,
        };
      },
    );
    const log = pino({ level: 'silent' });
    const check = async () => [];
    const sink = new DatagramSink({
      targets,
      burst: 32,
      pauseMs: 0,
      encoder: { key: 'test', format: () => 'x', last: () => '', end: '' },
      unformatted: new FormatFailures(log, 'test'),
      check,
      log,
    });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      await sink.open(null);
      await expect(deliverEvents(sink, batch(1, 3), never)).rejects.toThrow(/\/x: Not running\. Check/);
      expect(sink.figures()).toMatchObject({ target: null, in_flight: 0 });
      await sink.open(null);
      expect(await deliverEvents(sink, batch(1, 3), never)).toEqual({ upTo: 3 });
      vi.advanceTimersByTime(60_000);
      expect(sink.figures().target).toBe('/x');
    } finally {
      vi.useRealTimers();
    }
  });
});

/** The optional package; tests of it are skipped where it is not. */
function datagramModule(): (new () => UnixDatagrams) | null {
  try {
    return (createRequire(import.meta.url)('node-unix-socket') as { DgramSocket: new () => UnixDatagrams })
      .DgramSocket;
  } catch {
    if (process.env.CI !== undefined) throw new Error('node-unix-socket is not installed');
    console.warn('SKIPPED: node-unix-socket is not installed');
    return null;
  }
}

interface UnixDatagrams {
  bind(path: string): void;
  on(event: 'data', listener: (data: Buffer) => void): unknown;
  close(): void;
}

const Module = datagramModule();

describe.skipIf(Module === null)('a unix datagram socket', () => {
  let directory: string;
  let path: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'postern-unix-'));
    path = join(directory, 'log');
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function receiver() {
    const got: string[] = [];
    if (Module === null) throw new Error('skipped');
    const socket = new Module();
    socket.bind(path);
    socket.on('data', (data) => got.push(data.toString()));
    const close = async () => {
      socket.close();
      rmSync(path, { force: true });
    };
    return { got, close };
  }

  it('a unix datagram socket gets one message per datagram, in order, beyond its queue', async () => {
    const { got, close } = receiver();
    running.push({ close });
    const sink = sinkFor({ transport: 'unix', targets: [path] });
    await sink.open(null);
    await deliverEvents(sink, batch(1, 3_000), never);
    await expect.poll(() => got.length).toBe(3_000);
    expect(got).toEqual(lines(1, 3_000));
  });

  it('a missing unix datagram socket or receiver is reported', async () => {
    const sink = sinkFor({ transport: 'unix', targets: [path] });
    await sink.open(null);
    await expect(deliverEvents(sink, batch(1, 3), never)).rejects.toThrow(
      /the socket does not exist \(ENOENT\)\. Start the receiver/,
    );
    const first = receiver();
    await sink.open(null);
    await deliverEvents(sink, batch(1, 3), never);
    await expect.poll(() => first.got).toEqual(lines(1, 3));
    await first.close();
    await expect(deliverEvents(sink, batch(4, 5), never)).rejects.toThrow(/ENOENT|ECONNREFUSED/);
    const second = receiver();
    running.push(second);
    await sink.open(null);
    await deliverEvents(sink, batch(4, 5), never);
    await expect.poll(() => second.got).toEqual(lines(4, 5));
  });

  it('a hung receiver of a unix datagram socket blocks the batch until shipping aborts it', async () => {
    const program = `import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('bound', flush=True); time.sleep(60)`;
    const hung = spawn('python3', ['-c', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(hung.stdout, 'data');
      const sink = sinkFor({ transport: 'unix', targets: [path] });
      await sink.open(null);
      const aborting = new AbortController();
      const delivery = deliverEvents(sink, batch(1, 3_000), aborting.signal);
      setTimeout(() => aborting.abort(), 300);
      await expect(delivery).rejects.toThrow(/aborted/);
    } finally {
      hung.kill('SIGKILL');
    }
  });
});
