import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { ApiRig, apiOf, freePort } from './api-fixture.js';

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

describe('oversized requests and requests that are not HTTP', () => {
  it.each([
    ['headers beyond 16 KiB', `GET / HTTP/1.1\r\nHost: localhost\r\n${'A: b\r\n'.repeat(20_000)}\r\n`, 431],
    [
      'an address beyond 16 KiB',
      `GET /api/audit-log?q=${'x'.repeat(50_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      431,
    ],
    ['something else', '\u0016\u0003\u0001\u0002\u0000', 400],
    ['a bad host', 'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400],
    ['no host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    [
      'an address of 2 MB',
      `GET /api/audit-log?q=${'x'.repeat(2_000_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      431,
    ],
    [
      'two lengths',
      'POST /audit-log/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
    ],
    [
      'a smuggled request',
      'POST /audit-log/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
  ])('invalid requests are rejected: %s', async (_, text, status) => {
    expect(await raw(text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    await ships();
  });

  it.each([
    '/api/audit-log/../../etc/passwd',
    '/api/audit-log/..%2f..%2f..%2fetc%2fpasswd',
    '/audit-log/assets/..%2f..%2fpackage.json',
    '/audit-log/assets/../../package.json',
    '/audit-log/assets/page.js%00.css',
    '/%2e%2e/%2e%2e/etc/passwd',
    '//evil.example/audit-log',
    '/api//audit-log',
    '/API/AUDIT-LOG',
  ])('paths outside the API are not found: %s', async (path) => {
    expect((await rig.raw(path, { authorization: `Bearer ${token}` })).status).toBe(404);
  });

  it.each([
    ['cursor=WzEs', 'cursor'],
    ['cursor=eyJ9', 'cursor'],
    [`cursor=${Buffer.from('[1,"0",[["postern",-1,5]]]').toString('base64url')}`, 'cursor'],
    ['__proto__=1', '__proto__'],
    ['constructor=1', 'constructor'],
    ['page=-1', 'page'],
    ['limit=1e3', 'limit'],
    ['access_token=pat_1', 'access_token'],
  ])('the query ?%s is rejected with the name of the parameter', async (query, parameter) => {
    const { status, headers, json } = await rig.ask(`/api/audit-log?${query}`, token);
    expect([status, headers.get('content-type')]).toEqual([400, 'application/problem+json']);
    expect(json().parameter).toBe(parameter);
  });

  it('invalid requests are rejected if the body exceeds 64 KiB, with and without Content-Length', async () => {
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

  it('invalid requests get 405 and the allowed methods for an unknown method, and no CORS headers', async () => {
    for (const method of ['PUT', 'PATCH', 'DELETE', 'POST']) {
      const { status, headers, json } = await rig.ask('/api/audit-log', token, { method });
      expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD']);
      expect(json().status).toBe(405);
    }
    const told = await rig.ask('/api/bans/192.0.2.1', null, {
      method: 'OPTIONS',
      headers: { origin: 'http://evil.example' },
    });
    expect([told.status, told.headers.get('allow')]).toEqual([204, 'DELETE']);
    expect(told.headers.get('access-control-allow-origin')).toBeNull();
    expect((await rig.ask('/nowhere', token, { method: 'PUT' })).status).toBe(404);
    expect((await rig.ask('/api/audit-log?limit=0', token, { method: 'HEAD' })).status).toBe(200);
  });
});

describe(`${CLIENTS} slow clients`, () => {
  it('slow clients that never finish their requests lock out nobody, delay no row, and are closed', async () => {
    const sockets: Socket[] = [];
    let closed = 0;
    for (let n = 0; n < CLIENTS; n++) {
      const socket = connect(rig.port, '127.0.0.1', () =>
        socket.write('GET /api/audit-log HTTP/1.1\r\nHost: localhost\r\n'),
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

  it('clients that export everything and read nothing are limited to four, and delay nobody else', async () => {
    rig.daemon.db.transaction(() => {
      const text = 'x'.repeat(20_000);
      for (let n = 0; n < 1_500; n++) rig.daemon.record({ action: 'setting.update', details: { n, text } });
    })();
    await rig.daemon.shipped();
    const ask = `GET /api/audit-log?limit=0 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
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
    for (let tries = 0; first.length < 10 && tries < 6_000; tries++) await sleep(20);
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
      expect(tries).toBeLessThan(2_000);
      await sleep(50);
    }
  });
});

describe('a port in use', () => {
  it('a port in use delays no delivery, and the API starts when it is free', async () => {
    const port = await freePort();
    const other = createServer();
    await new Promise<void>((done) => other.listen(port, '127.0.0.1', done));
    const daemon = new DaemonRig({ api: `{ listen: "127.0.0.1:${port}" }` });
    try {
      await daemon.start();
      const status = await daemon.until((at) => apiOf(at).state === 'retrying', 'it says so');
      expect(apiOf(status).error).toMatch(/another program uses the port.*api\.listen/s);
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

const GONE = Number(process.env.API_GONE_CLIENTS ?? 400);

describe(`${GONE} clients that disconnect right after their request`, () => {
  const open = async () => {
    const { text } = await rig.ask('/metrics', token);
    return Number(/^postern_auditd_api_stream_clients (\d+)$/m.exec(text)?.[1]);
  };

  it.each(['/api/audit-log/stream', '/api/audit-log?limit=0', '/api/audit-log/stream?q=x'])(
    'clients that disconnect early occupy no slot: %s',
    async (path) => {
      const one = (n: number) =>
        new Promise<void>((done) => {
          const ask = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`;
          const socket = connect(rig.port, '127.0.0.1', () =>
            socket.write(ask, () =>
              n % 3 === 0 ? socket.resetAndDestroy() : setTimeout(() => socket.destroy(), n % 5),
            ),
          );
          socket.on('error', () => undefined);
          socket.on('close', () => done());
        });
      for (let n = 0; n < GONE; n += 20)
        await Promise.all(Array.from({ length: 20 }, (_, at) => one(n + at)));
      // One that is accepted late may come after none was open.
      await expect.poll(open, { interval: 50 }).toBe(0);
      for (let tries = 0; tries < 100; tries++) {
        // Four exports at a time: none of them is left.
        const all = await Promise.all(
          Array.from({ length: 4 }, () => rig.ask('/api/audit-log?limit=0&ip=192.0.2.1', token)),
        );
        if (all.every(({ status }) => status === 200)) break;
        expect(tries).toBeLessThan(99);
        await sleep(50);
      }
      await ships();
    },
    120_000 + GONE * 5,
  );
});
