import { openSync, readSync, statSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MB, percentile, Rig, usage } from './bench-fixture.js';
import { fill } from './query.js';

export const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
export const PORT = Number(process.env.BENCH_PORT ?? 28_181);
const SECONDS = 10;
const CLIENTS = 8;
const COMMITS = 300;
const SLOW = 1_000;
const FAILURE = { action: 'auth.login_failure', address: '203.0.113.7' } as const;

/**
 * Requests per second and p99 of page 1 and of a filter, the whole export, and the effect of API load on shipping: commit → line
 * with and without load. The load comes from this process on the same cores, so the results are a lower bound.
 */
export async function api(): Promise<void> {
  const rig = new Rig();
  rig.api = `{ listen: "127.0.0.1:${PORT}" }`;
  rig.configure(`  audit: { type: file, directory: ${rig.audit}, roll: { size: 2G }, start: now }
  auth: { type: fail2ban, directory: ${rig.auth}, start: now }`);
  const { db, recorder } = rig.open();
  try {
    fill(db);
    const pid = await rig.start();
    const token = await tokenOf(rig);
    for (
      let tries = 0;
      (await requestAll(token, '/api/audit-log?limit=1').catch(() => null)) === null;
      tries++
    ) {
      if (tries > 100) throw new Error('the API does not answer');
      await sleep(50);
    }
    while (((await rig.status())?.sinks.auth?.looks?.postern?.id ?? 0) < ROWS) await sleep(200); // the sink reads the rows of the year once
    const ship = shipping(rig, recorder);
    console.log(`api: ${ROWS.toLocaleString('en')} rows, ${CLIENTS} clients at a time, ${SECONDS} s each`);
    await ship('without load');
    for (const path of [
      '/api/audit-log?page=1&limit=50',
      '/api/audit-log?resource_type=proxy_host',
      '/healthz',
    ]) {
      const busy = usage(pid).cpu;
      const stop = load(token, path);
      await sleep(500);
      await ship(`while ${CLIENTS} clients ask for ${path}`);
      await sleep(SECONDS * 1_000);
      const times = await stop();
      const cpu = usage(pid).cpu - busy;
      times.sort((a, b) => a - b);
      const seconds = times.length / (times.elapsed / 1_000);
      console.log(
        `  ${path}: ${seconds.toFixed(0)} requests/s (${(times.length / cpu).toFixed(0)} a second of CPU), p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${percentile(times, 0.99).toFixed(1)} ms`,
      );
    }
    for (const format of ['json', 'ndjson', 'csv']) {
      const begin = performance.now();
      let [rss, bytes] = [0, 0];
      const { rss: before, cpu: busy } = usage(pid);
      const look = setInterval(() => {
        rss = Math.max(rss, usage(pid).rss);
      }, 100);
      const { first, length } = await requestAll(token, `/api/audit-log?limit=0&format=${format}`, begin);
      clearInterval(look);
      bytes = length;
      const took = (performance.now() - begin) / 1_000;
      const cpu = usage(pid).cpu - busy;
      console.log(
        `  limit=0 ${format}: first byte ${first.toFixed(0)} ms, ${Math.round(ROWS / took).toLocaleString('en')} rows/s (${Math.round(ROWS / cpu).toLocaleString('en')} a second of CPU), ${(bytes / took / MB).toFixed(0)} MB/s, RSS of the daemon at most ${(rss / MB).toFixed(0)} MB (${(before / MB).toFixed(0)} before)`,
      );
    }
    let going = true;
    const exporting = (async () => {
      while (going) await requestAll(token, '/api/audit-log?limit=0&format=ndjson').catch(() => null);
    })();
    await sleep(500);
    await ship('while everything is exported');
    going = false;
    await exporting;
    const sockets = slowClients();
    await sleep(500);
    await ship(`while ${SLOW} slow clients hang on`);
    for (const socket of sockets) socket.destroy();
  } finally {
    db.close();
    await rig.close();
  }
}

/** Commit of a failed login → complete line in fail2ban's file. */
function shipping(rig: Rig, recorder: ReturnType<Rig['open']>['recorder']) {
  let round = 0;
  return async (what: string): Promise<void> => {
    round++;
    recorder.record({ ...FAILURE, details: { round } });
    await sleep(300);
    const [file = ''] = [0, 1]
      .map((n) => join(rig.auth, `fail2ban.${n}.log`))
      .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
    const descriptor = openSync(file, 'r');
    const buffer = Buffer.alloc(65_536);
    const times: number[] = [];
    for (let n = 0; n < COMMITS; n++) {
      await sleep(5 + (n % 26));
      const offset = statSync(file).size;
      recorder.record({ ...FAILURE, details: { round, n } });
      const committed = performance.now();
      for (;;) {
        const read = readSync(descriptor, buffer, 0, buffer.length, offset);
        if (buffer.toString('utf8', 0, read).includes(`"n":${n}}`)) break;
        if (performance.now() - committed > 10_000) throw new Error(`row ${n} did not come within 10 s`);
        await sleep(0);
      }
      times.push(performance.now() - committed);
    }
    times.sort((a, b) => a - b);
    const [middle, high, most] = [0.5, 0.99, 1].map((part) => percentile(times, part).toFixed(2));
    console.log(`  commit → line ${what}: p50 ${middle} ms, p99 ${high} ms, max ${most} ms (${COMMITS})`);
  };
}

function load(token: string, path: string): () => Promise<number[] & { elapsed: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const times: number[] = [];
  let going = true;
  const begin = performance.now();
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (going) {
      const before = performance.now();
      await requestAll(token, path, before, agent);
      times.push(performance.now() - before);
    }
  });
  return async () => {
    going = false;
    await Promise.all(clients);
    const elapsed = performance.now() - begin;
    agent.destroy();
    return Object.assign(times, { elapsed });
  };
}

/** Reads the whole answer of the API. `first`: milliseconds to its first byte; `length`: bytes. */
export function requestAll(
  token: string,
  path: string,
  begin = performance.now(),
  agent?: Agent,
): Promise<{ first: number; length: number }> {
  return new Promise((done, fail) => {
    const headers = { authorization: `Bearer ${token}` };
    const options = {
      host: '127.0.0.1',
      port: PORT,
      path,
      headers,
      ...(agent === undefined ? {} : { agent }),
    };
    const call = request(options, (response: IncomingMessage) => {
      let [first, length] = [0, 0];
      response.on('data', (bytes: Buffer) => {
        if (first === 0) first = performance.now() - begin;
        length += bytes.length;
      });
      response.on('end', () => {
        if (response.statusCode === 200) done({ first, length });
        else fail(new Error(`${path}: ${response.statusCode}`));
      });
      response.on('error', fail);
    });
    call.on('error', fail);
    call.end();
  });
}

/** A new token that may read. */
export function tokenOf(rig: Rig): Promise<string> {
  return new Promise((done, fail) => {
    const body = JSON.stringify({ name: 'bench', scope: 'read' });
    const headers = { 'content-type': 'application/json', 'content-length': String(body.length) };
    const call = request(
      { socketPath: rig.control, path: '/api/tokens', method: 'POST', headers },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => done((JSON.parse(text) as { token: string }).token));
      },
    );
    call.on('error', fail);
    call.end(body);
  });
}

function slowClients(): Socket[] {
  return Array.from({ length: SLOW }, () => {
    const socket = connect(PORT, '127.0.0.1', () =>
      socket.write('GET /api/audit-log HTTP/1.1\r\nHost: x\r\nX-'),
    );
    socket.on('error', () => undefined);
    return socket;
  });
}
