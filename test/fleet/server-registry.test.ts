import { jetstream } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { SERVERS_TTL_MS } from '../../src/fleet/kv-buckets.js';
import { ServerRegistry } from '../../src/fleet/server-registry.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

const STREAM = 'POSTERN_AUDIT';
const DAY = 86_400_000;

describe.skipIf(!hasNats())('the servers that a hub knows', () => {
  let nats: Nats;
  let nc: NatsConnection;

  beforeAll(async () => {
    nats = await Nats.start();
    await nats.ready();
    await initFleet({ servers: nats.urls, stream: STREAM, connect_timeout: 5_000 }, STREAM_DEFAULTS);
    nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    await put('a');
  });
  afterAll(async () => {
    await nc.close();
    await nats.close();
  });

  async function put(key: string, server = key): Promise<void> {
    const beat = { v: 1, server, role: 'member', version: '1', time: 0, state: 'reading' };
    const kv = await new Kvm(jetstream(nc)).open(`${STREAM}_SERVERS`);
    await kv.put(key, JSON.stringify({ ...beat, rows: 0, lag_events: 0, lag_seconds: 0 }));
  }

  async function after(age: number): Promise<{ members: ServerRegistry; said: string[] }> {
    const said: string[] = [];
    const members = new ServerRegistry({
      stream: STREAM,
      silentAfter: 300,
      clock: () => Date.now() + age,
      silentBefore: [],
      log: pino({ enabled: false }),
      onSilent: ({ token }) => said.push(`${token} is silent`),
      onBack: ({ token }) => said.push(`${token} is back`),
      onForgotten: () => said.push('forgotten'),
    });
    await members.attach(nc);
    return { members, said };
  }

  it("the hub's list has all servers under their own names, also after changes while the hub was not connected", async () => {
    const { members } = await after(0);
    const names = () => members.all().map(({ beat: { server } }) => server);
    expect(names()).toEqual(['a']);
    members.detach();
    await put('b');
    await put('c', 'a'); // permissions protect the key, so c can't claim to be a
    const kv = await new Kvm(jetstream(nc)).open(`${STREAM}_SERVERS`);
    await kv.delete('a');
    await members.attach(nc);
    expect(names()).toEqual(['b']);
    members.detach();
    await put('a');
    for (const token of ['b', 'c']) await kv.delete(token);
  });

  it('without the list only the servers are unknown, and everything else works', async () => {
    const manager = await jetstream(nc).jetstreamManager();
    const { config } = await manager.streams.info(`KV_${STREAM}_SERVERS`);
    await manager.streams.delete(`KV_${STREAM}_SERVERS`);
    const { members } = await after(0); // does not throw: that would end the connection
    expect(members.trouble()).toEqual({
      what: expect.stringMatching(/POSTERN_AUDIT_SERVERS/),
      next: expect.stringMatching(/fleet init/),
    });
    members.detach();
    await manager.streams.add(config);
    await put('a');
    await members.attach(nc);
    expect(members.trouble()).toBeNull();
    members.detach();
  });

  it('servers are forgotten after 30 days without a heartbeat, and known again once the clock is right', async () => {
    const known = await after(SERVERS_TTL_MS - DAY);
    await vi.waitFor(() => expect(known.said).toEqual(['a is silent']), 60_000);
    expect(known.members.all().map(({ token, silent }) => [token, silent])).toEqual([['a', true]]);
    known.members.detach();
    const gone = await after(SERVERS_TTL_MS + DAY);
    await vi.waitFor(() => expect(gone.said).toEqual(['forgotten']), 60_000);
    expect(gone.members.all()).toEqual([]);
    gone.members.detach();
    // JetStream keeps the list itself.
    const again = await after(0);
    expect(again.members.all().map(({ token }) => token)).toEqual(['a']);
    again.members.detach();
  });
});
