import { afterEach, describe, expect, it } from 'vitest';
import type { Sink } from '../../../src/sinks/sink.js';
import { deliverEvents } from '../../support/deliver.js';
import { batch } from '../files/files-fixture.js';
import { CountedReader, freePort, listen, type TestServer } from './receivers.js';
import { events, messages, Shipping, syslog } from './syslog-fixture.js';

const never = new AbortController().signal;
const running: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  for (const each of running.splice(0)) await each.close();
});

/** A collector that keeps what each of its connections brought. */
async function collector(port = 0): Promise<TestServer & { readonly got: string[][] }> {
  const got: string[][] = [];
  const server = await listen(
    (socket, index) => {
      const reader = new CountedReader();
      got[index] = reader.messages;
      socket.on('data', (chunk: Buffer) => reader.push(chunk));
    },
    port,
    { allowHalfOpen: false },
  );
  running.push(server);
  return Object.assign(server, { got });
}

function tcp(targets: string[], more: Record<string, unknown> = {}): Sink {
  const sink = syslog(
    { transport: 'tcp', targets, connect_timeout: '1s', ...more },
    (event) => `event ${event.sequence}`,
  );
  running.push(sink);
  return sink;
}

function lines(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, n) => `event ${from + n}`);
}

describe('a collector over TCP', () => {
  it('a TCP collector gets each event as formatted, in order', async () => {
    const server = await collector();
    const list = events(1, 5_000);
    const sink = syslog({ transport: 'tcp', targets: [server.target] });
    running.push(sink);
    const shipping = new Shipping(sink, list);
    await shipping.until(5_000);
    await expect.poll(() => server.got[0]?.length).toBe(5_000);
    expect(server.got[0]).toEqual(messages(list, { transport: 'tcp', targets: [server.target] }));
    expect(shipping.errors).toEqual([]);
  });

  it('data from a TCP collector is ignored', async () => {
    const server = await collector();
    const sink = tcp([server.target]);
    await sink.open(null);
    await expect.poll(() => server.sockets.length).toBe(1);
    server.sockets[0]?.write(Buffer.alloc(4 * 2 ** 20, 'hello\n'));
    await deliverEvents(sink, batch(1, 10), never);
    await expect.poll(() => server.got[0]?.length).toBe(10);
    expect(sink.figures()).toMatchObject({ connected: true, reconnects_total: 0 });
  });

  it.each<[string, (server: TestServer) => void]>([
    ['closes', (server) => server.sockets[0]?.end()],
    ['resets', (server) => server.sockets[0]?.resetAndDestroy()],
  ])('a TCP collector that %s while idle is noticed at once, and gets the window again', async (_, end) => {
    const server = await collector();
    const shipping = new Shipping(tcp([server.target]), events(1, 100));
    await shipping.until(50);
    await expect.poll(() => server.got[0]?.length).toBe(50);
    end(server);
    await expect.poll(() => shipping.sink.figures().connected).toBe(false);
    await shipping.step(50);
    expect(shipping.errors).toHaveLength(1);
    await shipping.step(50);
    await shipping.until(100);
    await expect.poll(() => server.got[1]?.length).toBe(100);
    expect(server.got[1]).toEqual(lines(1, 100));
    expect(shipping.sink.figures()).toMatchObject({ reconnects_total: 1, replayed_total: 50 });
  });

  it('a TCP collector gets the window again although state.db rejected its positions at first', async () => {
    const server = await collector();
    const make = () => tcp([server.target], { replay_window: { age: '0s' } });
    const shipping = new Shipping(make(), events(1, 60));
    await shipping.until(50);
    await expect.poll(() => server.got[0]?.length).toBe(50);
    server.sockets[0]?.resetAndDestroy();
    await expect.poll(() => shipping.sink.figures().connected).toBe(false);
    await shipping.step(50);
    // A disk that is full: `open` returns, and shipping can't write down what.
    for (let attempt = 0; attempt < 2; attempt++) {
      expect((await shipping.sink.open(shipping.saved))?.positions).toMatchObject([{ upTo: 0 }]);
      expect(shipping.sink.undelivered?.(shipping.saved)).toContainEqual(
        expect.objectContaining({ upTo: 0 }),
      );
    }
    // The collector closes that connection too, in between, with nothing sent over it.
    server.sockets[1]?.end();
    await expect.poll(() => shipping.sink.figures().connected).toBe(false);
    await shipping.open();
    expect(shipping.cursor).toBe(0);
    await shipping.until(60);
    await expect.poll(() => server.got[2]?.length).toBe(60);
    expect(shipping.sink.figures().reconnects_total).toBe(2);
    // What is saved is not returned again; what is not, is found by the next process.
    expect(await shipping.sink.open(shipping.saved)).toBeNull();
    server.sockets[2]?.resetAndDestroy();
    await expect.poll(() => shipping.sink.figures().connected).toBe(false);
    await shipping.sink.open(shipping.saved);
    await shipping.restart(make(), 'close');
    await shipping.open();
    expect(shipping.cursor).toBe(0);
  });

  it('a TCP collector that repeatedly closes idle connections gets the window once, without errors', async () => {
    const server = await collector();
    const shipping = new Shipping(tcp([server.target], { replay_window: { age: '0s' } }), events(1, 50));
    await shipping.until(50);
    for (let round = 0; round < 4; round++) {
      await expect.poll(() => server.got[round]?.length).toBe([50, 50, 0, 0][round]);
      server.sockets[round]?.end();
      await expect.poll(() => shipping.sink.figures().connected).toBe(false);
      await expect.poll(() => shipping.step(50).then(() => shipping.sink.figures().connected)).toBe(true);
      await shipping.until(50);
    }
    expect(shipping.errors).toHaveLength(1);
  });

  it('a TCP collector that closes with unread events gets the window again each time', async () => {
    // Half-closed, so that the kernel does not reset: only the send queue tells.
    const server = await listen((socket) => socket.pause(), 0, { pauseOnConnect: true, allowHalfOpen: true });
    running.push(server);
    const config = {
      transport: 'tcp',
      targets: [server.target],
      replay_window: { age: '0s', bytes: '0B', events: 10 },
    };
    const sink = syslog(config, (event) => (event.sequence <= 10 ? 'small' : 'x'.repeat(8_000)));
    running.push(sink);
    const shipping = new Shipping(sink, events(1, 20_010), 500);
    for (let round = 0; round < 3; round++) {
      await shipping.open();
      expect(shipping.cursor).toBe(0);
      await shipping.until(10);
      const broken = shipping.until(20_010, AbortSignal.timeout(5_000));
      await expect.poll(() => sink.figures().in_flight_bytes).toBeGreaterThan(0);
      const errors = shipping.errors.length;
      server.sockets.at(-1)?.end();
      await expect.poll(() => shipping.errors.length).toBeGreaterThan(errors);
      shipping.stop();
      await broken;
    }
  });

  it('a TCP collector gets nothing twice after an orderly stop, and the whole window after a crash', async () => {
    const server = await collector();
    const make = () => tcp([server.target], { replay_window: { age: '0s' } });
    const shipping = new Shipping(make(), events(1, 30));
    await shipping.until(10);
    await shipping.restart(make(), 'close');
    await shipping.until(20);
    await expect.poll(() => server.got[1]?.length).toBe(10);
    await shipping.restart(make(), 'die');
    await shipping.open();
    await shipping.until(30);
    await expect.poll(() => server.got[2]?.length).toBe(30);
    expect(server.got).toEqual([lines(1, 10), lines(11, 20), lines(1, 30)]);
  });

  it('a TCP sink makes retention keep its window, even before connecting, and nothing after an orderly stop', async () => {
    const server = await collector();
    const make = () => tcp([server.target], { replay_window: { age: '3s' } });
    const shipping = new Shipping(make(), events(1, 30));
    await shipping.until(10);
    const held = (sink = shipping.sink) => sink.undelivered?.(shipping.saved).map(({ upTo }) => upTo);
    expect(held()).toEqual([0]);
    await expect.poll(() => held()).toEqual([]);
    expect(held(make())).toEqual([0]);
    await shipping.restart(make(), 'close');
    expect(held()).toEqual([]);
  });

  it('gets the window again where the stop was not orderly: it had not read to the end', async () => {
    const server = await listen((socket) => socket.pause(), 0, { pauseOnConnect: true });
    running.push(server);
    const sink = tcp([server.target], { replay_window: { age: '0s' } });
    const shipping = new Shipping(sink, events(1, 10));
    await shipping.until(10);
    const started = performance.now();
    await sink.close();
    expect(performance.now() - started).toBeLessThan(4_000);
    const other = await collector();
    await shipping.restart(tcp([other.target]), 'close');
    await shipping.open();
    expect(shipping.cursor).toBe(0);
  });

  it('is disconnected at once when shipping aborts, although it never reads', async () => {
    const server = await listen((socket) => socket.pause(), 0, { pauseOnConnect: true });
    running.push(server);
    const sink = syslog({ transport: 'tcp', targets: [server.target] }, () => 'x'.repeat(8_000));
    running.push(sink);
    await sink.open(null);
    const aborting = new AbortController();
    const delivering = async () => {
      for (let at = 1; ; at += 2_000) await deliverEvents(sink, batch(at, at + 1_999), aborting.signal);
    };
    const delivery = delivering();
    setTimeout(() => aborting.abort(), 1_000);
    await expect(delivery).rejects.toThrow(/aborted/);
    expect(sink.figures()).toMatchObject({ connected: false, in_flight_bytes: 0 });
  });
});

describe('several targets', () => {
  it('are tried in order, and the one that works is kept', async () => {
    const dead = `127.0.0.1:${await freePort()}`;
    const [second, third] = [await collector(), await collector()];
    const sink = tcp([dead, second.target, third.target]);
    await sink.open(null);
    expect(sink.figures().target).toBe(second.target);
    second.sockets[0]?.resetAndDestroy();
    await second.close();
    await expect.poll(() => sink.figures().connected).toBe(false);
    await expect(deliverEvents(sink, batch(1, 1), never)).rejects.toThrow(/reset|closed/);
    await sink.open(null);
    expect(sink.figures().target).toBe(third.target);
  });

  it('that all fail are all named, each with what it did', async () => {
    const [one, two] = [await freePort(), await freePort()];
    const targets = [`127.0.0.1:${one}`, `localhost:${two}`, 'no-such-host.invalid:514'];
    const sink = tcp(targets, { connect_timeout: '30s' });
    await expect(sink.open(null)).rejects.toThrow(
      new RegExp(
        `127.0.0.1:${one}: it refused .*localhost:${two}: it refused .*no-such-host.invalid:514: its name`,
      ),
    );
  });

  it('fail back to an earlier one that is back, without a loss and without a duplicate', async () => {
    const port = await freePort();
    const second = await collector();
    const sink = tcp([`127.0.0.1:${port}`, second.target], { replay_window: { age: '0s' } });
    const shipping = new Shipping(sink, events(1, 40));
    await shipping.until(20);
    expect(sink.figures().target).toBe(second.target);
    const first = await collector(port);
    // A minute with the second, and the first no longer avoided.
    const inside = sink as unknown as {
      connection: { session: { link: { openedAt: number } } };
      options: { targets: { health: Array<{ avoidedUntil: number }> } };
    };
    inside.connection.session.link.openedAt -= 61_000;
    inside.options.targets.health[0] = { avoidedUntil: 0 };
    await expect.poll(() => shipping.step(20).then(() => sink.figures().target)).toBe(first.target);
    await shipping.until(40);
    await expect.poll(() => first.got[0]?.length).toBe(20);
    expect([second.got[0], first.got[0]]).toEqual([lines(1, 20), lines(21, 40)]);
    expect(shipping.errors).toEqual([]);
  });
});

describe('connecting', () => {
  it.each<[string, Record<string, unknown>]>([
    ['the answer to RELP open', { transport: 'relp' }],
    ['a TLS handshake', { transport: 'tls' }],
  ])('ends when the process ends, while it waits for %s', async (_, config) => {
    const silent = await listen(() => undefined);
    running.push(silent);
    const sink = syslog({ ...config, targets: [silent.target, silent.target], connect_timeout: '30s' });
    const aborting = new AbortController();
    const opening = sink.open(null, aborting.signal);
    opening.catch(() => undefined); // met below
    await expect.poll(() => silent.sockets.length).toBe(1);
    aborting.abort();
    await expect(opening).rejects.toThrow(/aborted/);
    expect(silent.sockets).toHaveLength(1);
    await sink.close();
  });

  it('gives up after the time-out', async () => {
    const silent = await listen(() => undefined);
    running.push(silent);
    const tls = syslog({ transport: 'tls', targets: [silent.target], connect_timeout: '300ms' });
    await expect(tls.open(null)).rejects.toThrow(/TLS handshake.*no answer within 0.3 s/);
  });
});
