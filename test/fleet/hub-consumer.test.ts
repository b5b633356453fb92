import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubConsumer } from '../../src/fleet/hub-consumer.js';
import { HubTable } from '../../src/fleet/hub-table.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

const STREAM = 'POSTERN_AUDIT';

describe.skipIf(!hasNats())('a gap in the stream', () => {
  const directory = mkdtempSync(join(tmpdir(), 'postern-gap-'));
  let nats: Nats;
  let nc: NatsConnection;
  let table: HubTable;

  beforeEach(async () => {
    nats = await Nats.start();
    await nats.ready();
    nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    table = new HubTable(directory);
  });

  afterEach(async () => {
    table.close();
    await nc.close();
    await nats.close();
    rmSync(directory, { recursive: true });
  });

  const consumer = (onGap: (details: object) => void) =>
    new HubConsumer({
      stream: STREAM,
      table,
      clock: Date.now,
      log: pino({ enabled: false }),
      onRows: () => undefined,
      onGap,
      onFailed: () => undefined,
    });

  async function stream(messages: number): Promise<void> {
    const js = jetstream(nc);
    const manager = await js.jetstreamManager();
    await manager.streams.delete(STREAM).catch(() => false);
    await manager.streams.add({ name: STREAM, subjects: ['postern.audit.>'] });
    for (let n = 0; n < messages; n++) await js.publish('postern.audit.a.b.c', `${n}`);
  }

  it('a gap is reported at the next start if the process was killed before it was recorded', async () => {
    await stream(3);
    const first = consumer(() => undefined);
    await first.attach(nc);
    await vi.waitFor(() => expect(table.position(STREAM)?.sequence).toBe(3), 60_000);
    first.detach();
    await stream(1);
    // An error while the gap is recorded leaves the position unmoved, like a process that is killed there.
    const killed = consumer(() => {
      throw new Error('killed');
    });
    await expect(killed.attach(nc)).rejects.toThrow('killed');
    const said: object[] = [];
    const next = consumer((details) => said.push(details));
    await next.attach(nc);
    next.detach();
    const again = consumer((details) => said.push(details));
    await again.attach(nc);
    again.detach();
    expect(said).toMatchObject([{ reason: 'another stream', read_up_to: 3 }]);
  });
});
