import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { installed } from '../support/installed.js';
import { ApiRig, apiOf } from './api-fixture.js';

const SILENT = Number(process.env.API_SILENT_CLIENTS ?? 2_300);
const directory = mkdtempSync(join(tmpdir(), 'postern-flood-'));
const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];

beforeAll(() => {
  if (!installed('openssl', 'openssl')) return;
  const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost -keyout ${key} -out ${cert}`;
  execFileSync('openssl', words.split(' '), { stdio: 'ignore' });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe(`${SILENT} connections that send nothing`, () => {
  let rig: ApiRig;
  let sockets: Socket[] = [];
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
    await rig?.close();
  });

  const open = (from: string): Promise<void> =>
    new Promise((done) => {
      const socket = connect({ port: rig.port, host: '127.0.0.1', localAddress: from });
      sockets.push(socket.resume()); // reads, so that it sees its end
      socket.once('connect', () => done()).once('error', () => done());
    });

  /** Opens them by fifty, and opens again what was closed, until the returned function is called. */
  async function flood(addresses: readonly string[]): Promise<() => void> {
    let isOn = true;
    const from = (n: number) => addresses[n % addresses.length] ?? '127.0.0.2';
    for (let n = 0; n < SILENT; n += 50)
      await Promise.all(Array.from({ length: 50 }, (_, at) => open(from(n + at))));
    const again = (async () => {
      for (let n = 0; isOn; n++) {
        sockets = sockets.filter((socket) => !socket.destroyed);
        if (sockets.length < SILENT) await Promise.all(Array.from({ length: 20 }, () => open(from(n))));
        await sleep(20);
      }
    })();
    return () => {
      isOn = false;
      void again;
    };
  }

  const answer = (send: typeof request, from: string): Promise<number | string> =>
    new Promise((done) => {
      const options = {
        host: '127.0.0.1',
        port: rig.port,
        path: '/healthz',
        localAddress: from,
        agent: false,
      };
      const asked = send({ ...options, rejectUnauthorized: false, timeout: 60_000 }, (response) => {
        response.resume().once('end', () => done(response.statusCode ?? 0));
      });
      asked.once('timeout', () => asked.destroy(new Error('timed out')));
      asked.once('error', (error) => done(error.message)).end();
    });

  const nine = async (send: typeof request) => {
    const answers: Array<number | string> = [];
    for (let n = 0; n < 9; n++) answers.push(await answer(send, '127.0.0.1'));
    return answers;
  };

  const tls = () => `tls: { cert: ${cert}, key: ${key} }`;

  it.skipIf(!installed('openssl', 'openssl'))(
    'silent connections do not block clients by unfinished TLS handshakes, from one address or from twenty',
    async () => {
      rig = await ApiRig.start(tls());
      for (const addresses of [['127.0.0.2'], Array.from({ length: 20 }, (_, n) => `127.0.1.${n + 1}`)]) {
        const stop = await flood(addresses);
        expect(await nine(request)).toEqual(Array.from({ length: 9 }, () => 200));
        expect(apiOf(await rig.daemon.status()).state).toBe('listening');
        stop();
      }
      rig.daemon.append(30);
      await rig.daemon.shipped();
    },
    240_000,
  );

  it('silent connections do not block clients over plain HTTP', async () => {
    rig = await ApiRig.start();
    const stop = await flood(['127.0.0.2', '127.0.0.3']);
    expect(await nine(plainRequest as typeof request)).toEqual(Array.from({ length: 9 }, () => 200));
    stop();
  }, 240_000);

  it.skipIf(!installed('openssl', 'openssl'))(
    'silent connections are closed after the handshake timeout, and at a reload',
    async () => {
      rig = await ApiRig.start(tls());
      let closed = 0;
      for (let n = 0; n < 10; n++) {
        await open('127.0.0.2');
        sockets.at(-1)?.once('close', () => closed++);
      }
      await expect.poll(() => closed, { timeout: 60_000 }).toBe(10);
      for (let n = 0; n < 10; n++) await open('127.0.0.2');
      rig.daemon.child?.kill('SIGHUP');
      await expect
        .poll(() => rig.daemon.output.match(/configuration read again/g)?.length, { timeout: 60_000 })
        .toBe(1);
      await expect.poll(() => sockets.every(({ destroyed }) => destroyed), { timeout: 60_000 }).toBe(true);
      expect(await answer(request, '127.0.0.1')).toBe(200);
    },
    120_000,
  );

  it.skipIf(!installed('openssl', 'openssl'))(
    'silent connections do not block clients after their TLS handshake',
    async () => {
      rig = await ApiRig.start(tls());
      for (let n = 0; n < 300; n += 20) {
        await Promise.all(
          Array.from(
            { length: 20 },
            () =>
              new Promise<void>((done) => {
                const socket = connectTls({
                  socket: connect({ port: rig.port, host: '127.0.0.1', localAddress: '127.0.0.2' }),
                  rejectUnauthorized: false,
                });
                sockets.push(socket);
                socket
                  .once('secureConnect', () => done())
                  .once('error', () => done())
                  .once('close', () => done());
              }),
          ),
        );
      }
      expect(await nine(request)).toEqual(Array.from({ length: 9 }, () => 200));
    },
    120_000,
  );
});
