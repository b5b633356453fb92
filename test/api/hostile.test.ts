import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DaemonRig } from '../daemon/rig.js';
import { ApiRig, apiOf, freePort } from './rig.js';

const CLIENTS = Number(process.env.API_SLOW_CLIENTS ?? 1_000);

let rig: ApiRig;
let token: string;

beforeAll(async () => {
  rig = await ApiRig.start();
  token = await rig.token('reader');
});
afterAll(() => rig.close());

/** What the server says to this, until it closes. */
function raw(text: string): Promise<string> {
  return new Promise((done, fail) => {
    const socket = connect(rig.port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (piece: string) => {
      answer += piece;
    });
    socket.on('close', () => done(answer));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? done(answer) : fail(error),
    );
  });
}

/** Every row is in the audit file within a moment. */
async function ships(): Promise<void> {
  rig.daemon.append(30);
  await rig.daemon.shipped();
}

describe('too much, or what is no HTTP', () => {
  it.each([
    ['headers beyond 16 KiB', `GET / HTTP/1.1\r\nHost: x\r\n${'A: b\r\n'.repeat(20_000)}\r\n`, 431],
    [
      'an address beyond 16 KiB',
      `GET /api/audit-log?q=${'x'.repeat(50_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      431,
    ],
    ['something else', '\u0016\u0003\u0001\u0002\u0000', 400],
    ['a bad host', 'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400],
    ['no host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    [
      'two lengths',
      'POST /audit-log/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
    ],
    [
      'a smuggled request',
      'POST /audit-log/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
  ])('%s', async (_, text, status) => {
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    await ships();
  });

  it('a body beyond 64 KiB is refused, however it is sent', async () => {
    const body = 'x'.repeat(1_000_000);
    const origin = { origin: rig.url(''), connection: 'close' };
    const whole = await rig.ask('/audit-log/login', null, { method: 'POST', body, headers: origin });
    expect([whole.status, whole.headers.get('content-type')]).toEqual([413, 'application/problem+json']);
    const type = 'application/x-www-form-urlencoded';
    const pieces = new Blob([body]).stream();
    const init = {
      method: 'POST',
      body: pieces,
      duplex: 'half',
      headers: { ...origin, 'content-type': type },
    };
    const chunked = await rig
      .ask('/audit-log/login', null, init as RequestInit)
      .catch(() => ({ status: 413 }));
    expect(chunked.status).toBe(413);
  });

  it('a method that is none of ours', async () => {
    for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      expect((await rig.ask('/api/audit-log', token, { method })).status).toBe(404);
    }
    expect((await rig.ask('/api/audit-log?limit=0', token, { method: 'HEAD' })).status).toBe(200);
  });
});

describe(`${CLIENTS} slow clients`, () => {
  it('who never end their requests lock out nobody, hold up no row, and are closed', async () => {
    const sockets: Socket[] = [];
    let closed = 0;
    for (let n = 0; n < CLIENTS; n++) {
      const socket = connect(rig.port, '127.0.0.1', () =>
        socket.write('GET /api/audit-log HTTP/1.1\r\nHost: x\r\n'),
      );
      socket.on('error', () => undefined);
      socket.on('close', () => closed++);
      sockets.push(socket);
    }
    const drip = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write('X-A: b\r\n');
    }, 500);
    await sleep(300);
    try {
      for (let n = 0; n < 20; n++) {
        const { status } = await rig.ask('/api/audit-log?limit=5', token, {
          headers: { connection: 'close' },
        });
        expect(status).toBe(200);
        await ships();
      }
      for (let tries = 0; closed < CLIENTS && tries < 100; tries++) await sleep(100);
      expect(closed).toBe(CLIENTS);
    } finally {
      clearInterval(drip);
      for (const socket of sockets) socket.destroy();
    }
  });

  it('who ask for everything and read nothing are four at most, and hold up nobody else', async () => {
    rig.daemon.db.transaction(() => {
      const text = 'x'.repeat(20_000);
      for (let n = 0; n < 1_500; n++) rig.daemon.record({ action: 'setting.update', details: { n, text } });
    })();
    await rig.daemon.shipped();
    const ask = `GET /api/audit-log?limit=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    const first: string[] = [];
    const sockets = Array.from({ length: 10 }, () => {
      const socket = connect(rig.port, '127.0.0.1', () => socket.write(ask));
      socket.once('data', (bytes) => {
        first.push(String(bytes).slice(0, 12));
        socket.pause();
      });
      socket.on('error', () => undefined);
      return socket;
    });
    for (let tries = 0; first.length < 10 && tries < 200; tries++) await sleep(20);
    expect(first.filter((line) => line === 'HTTP/1.1 200')).toHaveLength(4);
    expect(first.filter((line) => line === 'HTTP/1.1 503')).toHaveLength(6);
    expect((await rig.ask('/api/audit-log?limit=50', token)).status).toBe(200);
    await ships();
    for (const socket of sockets) socket.destroy();
    for (
      let tries = 0;
      (await rig.ask('/api/audit-log?limit=0&ip=192.0.2.1', token)).status !== 200;
      tries++
    ) {
      expect(tries).toBeLessThan(100);
      await sleep(50);
    }
  });
});

describe('a port that is taken', () => {
  it('keeps no row from being shipped; the API comes when the port is free', async () => {
    const port = await freePort();
    const other = createServer();
    await new Promise<void>((done) => other.listen(port, '127.0.0.1', done));
    const daemon = new DaemonRig({ api: `{ listen: "127.0.0.1:${port}" }` });
    try {
      await daemon.start();
      const status = await daemon.until((at) => apiOf(at).state === 'retrying', 'it says so');
      expect(apiOf(status).error).toMatch(/another program does.*api\.listen/s);
      daemon.append(10);
      await daemon.shipped();
      await new Promise((done) => other.close(done));
      await daemon.until((at) => apiOf(at).state === 'listening', 'it listens');
      expect(daemon.output.match(/can't listen on/g)?.length).toBe(1);
    } finally {
      await daemon.close();
    }
  });
});
