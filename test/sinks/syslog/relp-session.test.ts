import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Batch, Sink } from '../../../src/sinks/sink.js';
import { deliverEvents } from '../../support/deliver.js';
import { batch } from '../files/files-fixture.js';
import {
  answer,
  OPEN_ANSWER,
  type RelpScript,
  relpServer,
  type TestServer,
  type Transaction,
} from './receivers.js';
import { syslog } from './syslog-fixture.js';

const never = new AbortController().signal;
const running: Array<{ close(): Promise<void> }> = [];

afterEach(async () => {
  for (const each of running.splice(0)) await each.close();
});

async function start(script?: RelpScript, more: Record<string, unknown> = {}) {
  const server = await relpServer(script);
  const sink = sinkFor(server, more);
  running.push(sink, server);
  return { server, sink };
}

function sinkFor(server: TestServer, more: Record<string, unknown> = {}): Sink {
  const config = { transport: 'relp', targets: [server.target], connect_timeout: '1s', ...more };
  return syslog(config, (event) => `<86>1 event ${event.sequence}`);
}

function sequences(got: readonly Transaction[]): number[] {
  return got.filter(({ command }) => command === 'syslog').map(({ data }) => Number(data.split(' ').at(-1)));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}

async function deliver(sink: Sink, what: Batch) {
  return deliverEvents(sink, what, never);
}

describe('a RELP session', () => {
  it('a RELP session opens with offers, counts transactions, and closes', async () => {
    const { server, sink } = await start();
    expect(await sink.open(null)).toBeNull();
    expect(await deliver(sink, batch(1, 3))).toEqual({ upTo: 3 });
    await sink.close();
    expect(server.got.map(({ txnr, command }) => `${txnr} ${command}`)).toEqual([
      '1 open',
      '2 syslog',
      '3 syslog',
      '4 syslog',
      '5 close',
    ]);
    expect(server.got[0]?.data).toMatch(
      /^relp_version=0\nrelp_software=postern-auditd,\d+\.\d+\.\d+\ncommands=syslog$/,
    );
    expect(sink.figures()).toMatchObject({ acknowledged_total: 3, unanswered: 0 });
  });

  it('a RELP session counts events as delivered when answered, not when sent', async () => {
    const held: string[] = [];
    const { server, sink } = await start(({ command, txnr }) => {
      if (command !== 'syslog') return undefined;
      held.push(answer(txnr, '200 OK'));
      return null;
    });
    await sink.open(null);
    let resolved = false;
    const delivery = deliver(sink, batch(1, 10)).finally(() => {
      resolved = true;
    });
    await expect.poll(() => held.length).toBe(10);
    await sleep(200);
    expect(resolved).toBe(false);
    expect(sink.figures()).toMatchObject({ unanswered: 10, acknowledged_total: 0 });
    // In whatever order, and in whatever pieces.
    for (const byte of Buffer.from(held.reverse().join(''))) server.sockets[0]?.write(Buffer.from([byte]));
    expect(await delivery).toEqual({ upTo: 10 });
  });

  it.each([1, 2, 7, 128])(
    'a RELP session has at most its window of sent events beyond the cursor: %i',
    async (window) => {
      let open = 0;
      let most = 0;
      let ahead = 0;
      let sent = 0;
      let cursor = 0;
      const { sink } = await start(
        ({ command, txnr }, socket) => {
          if (command !== 'syslog') return undefined;
          most = Math.max(most, ++open);
          ahead = Math.max(ahead, ++sent - cursor);
          setTimeout(() => {
            open--;
            socket.write(answer(txnr, '200 OK'));
          }, 5);
          return null;
        },
        { window },
      );
      const reached = (upTo: number) => {
        expect(upTo).toBeGreaterThan(cursor);
        cursor = upTo;
        return true;
      };
      await sink.open(null);
      while (cursor < 1_300) {
        const { upTo } = await deliverEvents(
          sink,
          batch(cursor + 1, Math.min(1_300, cursor + 600)),
          never,
          reached,
        );
        cursor = upTo;
      }
      expect(ahead).toBeLessThanOrEqual(window);
      expect(most).toBe(Math.max(1, window - Math.floor(window / 4)));
      expect(sent).toBe(1_300);
    },
  );

  it('a RELP session has a larger window in a backlog, and the small one again behind it', async () => {
    let ahead = 0;
    let sent = 0;
    let cursor = 0;
    const { sink } = await start(({ command, txnr }, socket) => {
      if (command !== 'syslog') return undefined;
      ahead = Math.max(ahead, ++sent - cursor);
      setTimeout(() => socket.write(answer(txnr, '200 OK')), 5);
      return null;
    });
    const reached = (upTo: number) => {
      cursor = upTo;
      return true;
    };
    await sink.open(null);
    const windows: unknown[] = [sink.figures().send_window];
    const ship = async (count: number) => {
      ahead = 0;
      cursor = (await deliverEvents(sink, batch(cursor + 1, cursor + count), never, reached)).upTo;
      windows.push(sink.figures().send_window);
      expect(ahead).toBeLessThanOrEqual(Number(windows.at(-1)));
      return ahead;
    };
    await ship(300);
    for (let page = 0; page < 5; page++) await ship(4_000);
    expect(await ship(4_000)).toBeGreaterThan(512);
    await ship(200);
    await ship(300);
    expect(windows).toEqual([128, 128, 256, 512, 1_000, 1_000, 1_000, 1_000, 128, 128]);
    expect(sent).toBe(cursor);
  });

  it('a RELP session sends a whole backlog without waiting for the last answers of its batches', async () => {
    // Like librelp: each answer is a write, and the next one leaves only after something has come.
    const held: string[] = [];
    const { server, sink } = await start(({ command, txnr }, socket) => {
      if (command !== 'syslog') return undefined;
      held.push(answer(txnr, '200 OK'));
      if (held.length === 1) setImmediate(() => socket.write(held.splice(0).join('')));
      return null;
    });
    await sink.open(null);
    const left: number[] = [];
    for (let cursor = 0; cursor < 20_000; ) {
      const upTo = Math.min(20_000, cursor + 4_000);
      cursor = (await deliver(sink, batch(cursor + 1, upTo))).upTo;
      left.push(upTo - cursor);
    }
    expect(Math.max(...left)).toBeLessThanOrEqual(128);
    expect(sequences(server.got)).toEqual(range(1, 20_000));
  });

  it('a RELP session shares its window between the sources, and delays none', async () => {
    let sent = 0;
    const { sink } = await start(
      ({ command, data }) => {
        if (command !== 'syslog') return undefined;
        sent++;
        return Number(data.split(' ').at(-1)) > 1_998 ? null : undefined;
      },
      { window: 4 },
    );
    await sink.open(null);
    expect(await deliver(sink, batch(1, 2_000))).toEqual({ upTo: 1_998 });
    expect(await deliver(sink, batch(1, 400, { source: 'auditd' }))).toEqual({ upTo: 400 });
    expect(sent).toBe(2_400);
  });

  it("a RELP session stops at its window and returns answered events if the cursor can't move", async () => {
    const { server, sink } = await start(undefined, { window: 8 });
    await sink.open(null);
    expect(await deliverEvents(sink, batch(1, 100), never, () => false)).toEqual({ upTo: 8 });
    expect(sequences(server.got)).toEqual(range(1, 8));
    expect(await deliver(sink, batch(9, 100))).toEqual({ upTo: 100 });
    expect(sequences(server.got)).toEqual(range(1, 100));
  });

  it('a broken RELP session returns the answered part of a batch, and then reports the error', async () => {
    let count = 0;
    const { server, sink } = await start(({ command, txnr }, socket) => {
      if (command !== 'syslog') return undefined;
      count++;
      if (count === 5) return null; // a gap: the answers behind it are worth nothing
      if (count === 9) {
        socket.destroy();
        return null;
      }
      return answer(txnr, '200 OK');
    });
    await sink.open(null);
    expect(await deliver(sink, batch(1, 20))).toEqual({ upTo: 4 });
    await expect(deliver(sink, batch(5, 20))).rejects.toThrow(
      /connection was closed|closed the connection|ECONNRESET/,
    );
    expect(await sink.open(null)).toBeNull();
    expect(await deliver(sink, batch(5, 20))).toEqual({ upTo: 20 });
    expect(new Set(sequences(server.got))).toEqual(new Set(range(1, 20)));
  });

  it('a RELP session does not wait for the last answers in a backlog, and resends nothing in flight', async () => {
    const held: string[] = [];
    const { server, sink } = await start(({ command, txnr, data }) => {
      if (command !== 'syslog' || Number(data.split(' ').at(-1)) <= 1_950) return undefined;
      held.push(answer(txnr, '200 OK'));
      return null;
    });
    await sink.open(null);
    const { upTo } = await deliver(sink, batch(1, 2_000));
    expect(upTo).toBeLessThanOrEqual(1_950);
    await expect.poll(() => sink.figures().unanswered).toBe(50);
    const rest = deliver(sink, batch(upTo + 1, 2_010));
    await expect.poll(() => held.length).toBe(60);
    server.sockets[0]?.write(held.join(''));
    expect(await rest).toEqual({ upTo: 2_010 });
    expect(sequences(server.got)).toEqual(range(1, 2_010));
  });

  it('a RELP session resends events in flight if the next batch is another one', async () => {
    const { server, sink } = await start(({ command, data }) =>
      command === 'syslog' && Number(data.split(' ').at(-1)) > 1_950 ? null : undefined,
    );
    await sink.open(null);
    expect((await deliver(sink, batch(1, 2_000))).upTo).toBeLessThanOrEqual(1_950);
    // Another timeline with the same row ids: other events.
    expect(await deliver(sink, batch(1_001, 1_010, { timeline: 2 }))).toEqual({ upTo: 1_010 });
    expect(sequences(server.got)).toEqual([...range(1, 2_000), ...range(1_001, 1_010)]);
  });

  it.each<[string, RelpScript, RegExp]>([
    [
      'refuses an event',
      ({ command, txnr }) => (command === 'syslog' ? answer(txnr, '500 disk full') : undefined),
      /rejected event postern:1: 500 disk full/,
    ],
    [
      'answers what was not asked',
      ({ command }) => (command === 'syslog' ? answer(77, '200 OK') : undefined),
      /transaction 77, which is not open/,
    ],
    [
      'answers twice',
      ({ command, txnr }) =>
        command === 'syslog' ? answer(txnr, '200 OK') + answer(txnr, '200 OK') : undefined,
      /which is not open/,
    ],
    ['answers with noise', ({ command }) => (command === 'syslog' ? 'hello\n' : undefined), /not RELP/],
    [
      'gives commands',
      ({ command }) => (command === 'syslog' ? '5 syslog 1 x\n' : undefined),
      /only a client/,
    ],
    [
      'ends the session',
      ({ command }) => (command === 'syslog' ? '0 serverclose 0\n' : undefined),
      /serverclose/,
    ],
    [
      'closes',
      ({ command }, socket) => (command === 'syslog' && socket.end() !== null ? null : undefined),
      /closed the connection/,
    ],
    [
      'resets',
      ({ command }, socket) => (command === 'syslog' && socket.resetAndDestroy() !== null ? null : undefined),
      /ECONNRESET|was closed/,
    ],
  ])('a RELP session fails with the cause if the collector %s', async (_, script, message) => {
    const { sink } = await start((transaction, socket) => script(transaction, socket));
    await sink.open(null);
    const failed = async () => {
      for (let at = 1; at <= 20; ) at = (await deliver(sink, batch(at, 20))).upTo + 1;
    };
    await expect(failed()).rejects.toThrow(message);
    expect(sink.figures()).toMatchObject({ connected: false });
  });

  it.each<[string, string | null, RegExp]>([
    ['refuses', answer(1, '500 no such thing'), /refused the RELP session: 500 no such thing/],
    ['offers no version', answer(1, '200 OK\ncommands=syslog'), /no version of RELP/],
    [
      'offers no syslog',
      answer(1, '200 OK\nrelp_version=0\ncommands=eventlog'),
      /not offer the command syslog/,
    ],
    ['does not speak RELP', 'HTTP/1.1 400 Bad Request\r\n', /not RELP/],
    ['never answers', null, /no answer within 1 s/],
  ])('a RELP session is not opened with a collector that %s', async (_, said, message) => {
    const { sink } = await start(({ command }) => (command === 'open' ? said : undefined));
    await expect(sink.open(null)).rejects.toThrow(message);
  });

  it('a RELP session ignores unknown hints', async () => {
    const { sink } = await start(({ command, txnr }) =>
      command === 'open' ? `0 weather 5 sunny\n${answer(txnr, OPEN_ANSWER)}` : undefined,
    );
    await sink.open(null);
    expect(await deliver(sink, batch(1, 1))).toEqual({ upTo: 1 });
  });

  it('a RELP session continues with 1 after transaction 999,999,999', async () => {
    const { server, sink } = await start();
    await sink.open(null);
    const session = (sink as unknown as { connection: { session: { txnr: number } } }).connection.session;
    session.txnr = 999_999_990;
    expect(await deliver(sink, batch(1, 30))).toEqual({ upTo: 30 });
    expect(server.got.slice(1).map(({ txnr }) => Number(txnr))).toEqual([
      ...range(999_999_990, 999_999_999),
      ...range(1, 20),
    ]);
  });

  it('a RELP session is aborted at once on request', async () => {
    const { sink } = await start(({ command }) => (command === 'syslog' ? null : undefined));
    await sink.open(null);
    const aborting = new AbortController();
    const delivery = deliverEvents(sink, batch(1, 10), aborting.signal);
    setTimeout(() => aborting.abort(), 50);
    await expect(delivery).rejects.toThrow(/aborted/);
  });

  it('a RELP session closes within 2 s if the collector has stopped answering', async () => {
    const { sink } = await start(({ command }) => (command === 'close' ? null : undefined));
    await sink.open(null);
    await deliver(sink, batch(1, 1));
    const started = performance.now();
    await sink.close();
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  it('a RELP session closed by the collector is reopened between batches without an error', async () => {
    const { server, sink } = await start();
    await sink.open(null);
    await deliver(sink, batch(1, 5));
    server.sockets[0]?.end();
    await expect.poll(() => sink.figures().connected).toBe(false);
    await expect.poll(() => sink.tick?.().then(() => sink.figures().connected)).toBe(true);
    expect(await deliver(sink, batch(6, 7))).toEqual({ upTo: 7 });
    expect(sequences(server.got)).toEqual(range(1, 7));
    expect(sink.figures()).toMatchObject({ reconnects_total: 1 });
  });
});
