import { chmodSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AckPolicy, jetstream } from '@nats-io/jetstream';
import { connect, nkeys } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { jetstreamSink } from '../../../src/config/jetstream.js';
import { initFleet } from '../../../src/fleet/init.js';
import { parseFleet } from '../../../src/formats/fleet-message.js';
import { createJetstreamSink } from '../../../src/sinks/jetstream/jetstream-sink.js';
import { STREAM_DEFAULTS } from '../../../src/sinks/jetstream/stream.js';
import type { Sink } from '../../../src/sinks/sink.js';
import { hasNats, Nats, type NatsOptions } from '../../fleet/nats.js';
import { deliverEvents } from '../../support/deliver.js';
import { batch, dependencies, NEVER } from '../files/files-fixture.js';
import { Authority } from '../syslog/certificates.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

describe.skipIf(!hasNats())('the sink of type jetstream, with the real nats-server', () => {
  let nats: Nats;
  const sinks: Sink[] = [];

  async function server(options: NatsOptions = {}, login: Record<string, string> = {}): Promise<void> {
    await nats?.close();
    nats = await Nats.start(options);
    await nats.ready(30_000, login);
  }

  function configured(over: Record<string, unknown> = {}) {
    return jetstreamSink.parse({ type: 'jetstream', servers: [...nats.urls], ...over });
  }

  function made(over: Record<string, unknown> = {}, name = 'web 1.example'): Sink {
    const sink = createJetstreamSink(configured(over), name, dependencies().deps);
    sinks.push(sink);
    return sink;
  }

  /** Every message of the stream, in its order. */
  async function stored(login: Record<string, string> = {}) {
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)), ...login });
    try {
      const js = jetstream(nc);
      const manager = await js.jetstreamManager();
      const { state } = await manager.streams.info('POSTERN_AUDIT');
      const found: Array<{ subject: string; id: string; sequence: number; after: number }> = [];
      if (state.messages === 0) return found;
      await manager.consumers.add('POSTERN_AUDIT', { durable_name: 'look', ack_policy: AckPolicy.None });
      const consumer = await js.consumers.get('POSTERN_AUDIT', 'look');
      for await (const message of await consumer.fetch({ max_messages: state.messages, expires: 5_000 })) {
        const event = parseFleet(message.subject, message.string());
        if (typeof event === 'string') throw new Error(event);
        const { id, sequence, after } = event;
        expect(message.headers?.get('Nats-Msg-Id')).toBe(id);
        found.push({ subject: message.subject, id, sequence, after });
        if (found.length === state.messages) break;
      }
      return found;
    } finally {
      await nc.close();
    }
  }

  beforeEach(() => server());

  afterEach(async () => {
    for (const sink of sinks.splice(0)) await sink.close();
    await nats.close();
  });

  it("the JetStream sink publishes to its server's subject by id, each event naming the previous one", async () => {
    await initFleet(configured(), STREAM_DEFAULTS);
    const sink = made({ window: 2 });
    await sink.open(null);
    const { saved } = await deliverEvents(sink, batch(1, 5, {}, 9), NEVER);
    await sink.close();
    await sink.open(saved ?? null);
    expect(await deliverEvents(sink, batch(10, 11), NEVER)).toMatchObject({ upTo: 11 });
    const found = await stored();
    expect(found.map(({ sequence, after }) => [sequence, after])).toEqual([
      [1, 0],
      [2, 1],
      [3, 2],
      [4, 3],
      [5, 4],
      [10, 5],
      [11, 10],
    ]);
    expect(found[0]?.subject).toBe('postern.audit.web=201=2Eexample.auth.login_failure');
  });

  it('events sent to JetStream again are stored once', async () => {
    await initFleet(configured(), STREAM_DEFAULTS);
    const sink = made();
    await sink.open(null);
    await deliverEvents(sink, batch(1, 300), NEVER);
    await deliverEvents(sink, batch(1, 300), NEVER);
    expect(await stored()).toHaveLength(300);
    expect(sink.figures()).toMatchObject({ duplicates_total: 300, unanswered: 0 });
  });

  it('the JetStream sink moves no cursor without an acknowledgement, such as without a stream', async () => {
    const sink = made();
    await expect(sink.open(null)).rejects.toThrow(/fleet init/);
    await initFleet(configured(), { ...STREAM_DEFAULTS, maxMessages: 1_200 });
    await sink.open(null);
    const { upTo } = await deliverEvents(sink, batch(1, 2_000), NEVER);
    expect(upTo).toBe(1_200);
    await expect(deliverEvents(sink, batch(upTo + 1, 2_000), NEVER)).rejects.toThrow(/is full/);
    const found = await stored();
    expect(found.map(({ sequence }) => sequence).slice(0, upTo)).toEqual(
      Array.from({ length: upTo }, (_, i) => i + 1),
    );
  });

  it('the JetStream sink resends unacknowledged events with the same ids, so that they are stored once', async () => {
    await initFleet(configured(), STREAM_DEFAULTS);
    let deaf = false;
    const proxy = createServer((client) => {
      const server = createConnection(Number(new URL(nats.urls[0] ?? '').port), '127.0.0.1');
      for (const socket of [client, server]) socket.on('error', () => undefined);
      client.on('data', (bytes) => server.write(bytes)).on('close', () => server.destroy());
      server.on('data', (bytes) => deaf || client.write(bytes)).on('close', () => client.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = proxy.address() as { port: number };
      const sink = made({ servers: [`nats://127.0.0.1:${port}`] });
      await sink.open(null);
      deaf = true;
      await expect(deliverEvents(sink, batch(1, 200), NEVER)).rejects.toThrow(/no answer in time|has ended/);
      deaf = false;
      await sink.open(null);
      expect(await deliverEvents(sink, batch(1, 200), NEVER)).toMatchObject({ upTo: 200 });
      expect(sink.figures()).toMatchObject({ duplicates_total: 200, acknowledged_total: 200 });
      expect((await stored()).map(({ sequence }) => sequence)).toEqual(
        Array.from({ length: 200 }, (_, at) => at + 1),
      );
    } finally {
      proxy.close();
    }
  });

  it('a kill -9 of nats-server under load loses nothing and stores nothing twice', async () => {
    await initFleet(configured(), STREAM_DEFAULTS);
    const sink = made({ window: 100 });
    let saved: string | null = null;
    let opened = false;
    let upTo = 0;
    let kills = 0;
    const last = 6_000;
    while (upTo < last) {
      try {
        if (!opened) await sink.open(saved);
        opened = true;
        const delivering = deliverEvents(sink, batch(upTo + 1, Math.min(last, upTo + 1_000)), NEVER);
        delivering.catch(() => undefined); // met below, perhaps only after a while
        if (upTo >= 2_000 * (kills + 1) - 1_000 && kills < 3) {
          await sleep(5);
          kills++;
          await nats.kill(0);
          nats.run(0);
        }
        const delivered = await delivering;
        upTo = delivered.upTo;
        saved = delivered.saved ?? saved;
      } catch {
        opened = false;
        await sleep(100);
      }
    }
    expect(kills).toBe(3);
    const ids = (await stored()).map(({ sequence }) => sequence);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBe(last);
  });

  it('the JetStream sink logs in with a token, a user or an nkey, and reports errors without a secret', async () => {
    const file = (name: string, text: string) => {
      const path = join(nats.directory, name);
      writeFileSync(path, `${text}\n`);
      chmodSync(path, 0o600);
      return path;
    };
    await server({ extra: 'authorization { token: "s3cr3t" }' }, { token: 's3cr3t' });
    const token = file('token', 's3cr3t');
    await initFleet(configured({ token }), STREAM_DEFAULTS);
    await made({ token }).open(null);
    const wrong = await made({ token: file('wrong', 'gu3ss') })
      .open(null)
      .then(String, String);
    expect(wrong).toMatch(/login was refused/);
    expect(wrong).not.toContain('gu3ss');
    const pair = nkeys.createUser();
    await server(
      { extra: `authorization { users: [{ user: admin, password: pw }, { nkey: ${pair.getPublicKey()} }] }` },
      { user: 'admin', pass: 'pw' },
    );
    const nkey = file('nkey', new TextDecoder().decode(pair.getSeed()));
    await initFleet(configured({ nkey }), STREAM_DEFAULTS);
    await made({ nkey }).open(null);
    const users = `authorization { users: [
      { user: admin, password: pw },
      { user: web1, password: pw1, permissions: { publish: ["postern.audit.web1.>", "$JS.API.STREAM.INFO.POSTERN_AUDIT"], subscribe: ["_INBOX.>"] } }
    ] }`;
    await server({ extra: users }, { user: 'admin', pass: 'pw' });
    const [admin, web1] = [file('admin', 'pw'), file('web1', 'pw1')];
    await initFleet(configured({ user: 'admin', password: admin }), STREAM_DEFAULTS);
    const own = made({ user: 'web1', password: web1 }, 'web1');
    await own.open(null);
    expect(await deliverEvents(own, batch(1, 3), NEVER)).toMatchObject({ upTo: 3 });
    expect((await own.check()).map(({ level }) => level)).toEqual(['ok', 'ok', 'warning', 'ok']);
    const other = made({ user: 'web1', password: web1 }, 'web2');
    await other.open(null);
    await expect(deliverEvents(other, batch(1, 3), NEVER)).rejects.toThrow(/[Pp]ermission/);
    expect((await other.check()).at(-1)).toMatchObject({
      level: 'error',
      what: expect.stringContaining('may not publish'),
    });
    expect((await stored({ user: 'admin', pass: 'pw' })).map(({ subject }) => subject.split('.')[2])).toEqual(
      ['web1', 'web1', 'web1'],
    );
  });

  it('the JetStream sink uses TLS with its own certificate, and rejects a server without one', async () => {
    const authority = new Authority();
    try {
      const [there, here] = [authority.issue('nats', 'DNS:localhost'), authority.issue('web1', 'DNS:web1')];
      const tls = { ca: authority.cert, cert: here.cert, key: here.key };
      const named = () => ({ tls, servers: nats.urls.map((url) => url.replace('127.0.0.1', 'localhost')) });
      await expect(made({ tls }).open(null)).rejects.toThrow(/TLS|tls/);
      await nats.close();
      nats = await Nats.start({
        extra: `tls { cert_file: "${there.cert}", key_file: "${there.key}", ca_file: "${authority.cert}", verify: true }`,
      });
      await vi.waitFor(() => initFleet(configured(named()), STREAM_DEFAULTS), 60_000);
      const sink = made(named());
      await sink.open(null);
      expect(await deliverEvents(sink, batch(1, 3), NEVER)).toMatchObject({ upTo: 3 });
      await expect(made().open(null)).rejects.toThrow();
    } finally {
      authority.remove();
    }
  });

  it('check of a JetStream sink reports its findings, and stores nothing', async () => {
    expect(await made().check()).toMatchObject([
      { level: 'ok', what: expect.stringContaining('nats-server 2.') },
      { level: 'error', next: expect.stringContaining('fleet init') },
    ]);
    await initFleet(configured(), STREAM_DEFAULTS);
    expect((await made().check()).map(({ level }) => level)).toEqual(['ok', 'ok', 'warning', 'ok']);
    expect(await stored()).toEqual([]);
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    const manager = await jetstream(nc).jetstreamManager();
    const { config } = await manager.streams.info('POSTERN_AUDIT');
    await manager.streams.update('POSTERN_AUDIT', {
      ...config,
      discard: 'old' as never,
      max_bytes: 2 ** 20,
    });
    await nc.close();
    // Somebody has set a limit that throws away what is old: each server's check says so.
    expect((await made().check()).filter(({ what }) => /events can be lost/.test(what))).toMatchObject([
      { level: 'warning', what: expect.stringContaining('discard is old'), next: expect.any(String) },
      { level: 'warning', what: expect.stringContaining('max_bytes is 1048576') },
    ]);
    await nats.kill(0);
    expect(await made().check()).toMatchObject([
      { level: 'error', next: expect.stringMatching(/^Start the NATS/) },
    ]);
  });
});

describe.skipIf(!hasNats())('fleet init', () => {
  it('the JetStream stream is created, found as expected, and differences are reported without changes', async () => {
    const nats = await Nats.start();
    try {
      await nats.ready();
      const config = jetstreamSink.parse({ type: 'jetstream', servers: [...nats.urls] });
      expect((await initFleet(config, STREAM_DEFAULTS)).map(({ made }) => made)).toEqual([true, true, true]);
      const again = await initFleet(config, STREAM_DEFAULTS);
      expect(again.map(({ made, differences }) => [made, differences])).toEqual([
        [false, []],
        [false, []],
        [false, []],
      ]);
      const other = await initFleet(config, { ...STREAM_DEFAULTS, duplicates: 60_000, maxAge: 86_400_000 });
      expect(other[0]?.differences).toMatchObject([
        { setting: 'max_age', found: '2592000 s', wished: '86400 s' },
        { setting: 'duplicate_window', found: '600 s', wished: '60 s' },
      ]);
      expect((await initFleet(config, STREAM_DEFAULTS))[0]?.differences).toEqual([]);
    } finally {
      await nats.close();
    }
  });
});
