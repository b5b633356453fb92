import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { Lease } from '../../src/fleet/lease.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

function leaseOf(clock: () => number): Lease {
  return new Lease({
    stream: 'POSTERN_AUDIT',
    server: 'hub',
    clock,
    log: pino({ level: 'silent' }),
    positions: () => ({}),
    onPositions: () => undefined,
    onTaken: () => undefined,
    onLost: () => undefined,
  });
}

describe.skipIf(!hasNats())('the lease', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('no hub holds the lease while its bucket is missing; this is reported, and everything else works', async () => {
    const nats = await Nats.start();
    await nats.ready();
    await initFleet({ servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 }, STREAM_DEFAULTS);
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    const manager = await jetstream(nc).jetstreamManager();
    const { config } = await manager.streams.info('KV_POSTERN_AUDIT_LEASE');
    await manager.streams.delete('KV_POSTERN_AUDIT_LEASE');
    const lease = leaseOf(Date.now);
    try {
      await lease.attach(nc);
      expect(lease.held).toBe(false);
      expect(lease.trouble()).toEqual({
        what: expect.stringMatching(/POSTERN_AUDIT_LEASE/),
        next: expect.stringMatching(/fleet init/),
      });
      await manager.streams.add(config);
      await vi.waitFor(() => expect(lease.held).toBe(true), 20_000);
      expect(lease.trouble()).toBeNull();
    } finally {
      lease.detach();
      await nc.close();
      await nats.close();
    }
  });

  it('the lease expires by either clock before anything else of a suspended process runs', async () => {
    const nats = await Nats.start();
    const nc = await nats.ready().then(async () => {
      await initFleet(
        { servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 },
        STREAM_DEFAULTS,
      );
      return connect({ servers: nats.urls.map((url) => url.slice(7)) });
    });
    let asleep = 0;
    const lease = leaseOf(() => Date.now() + asleep);
    try {
      await lease.attach(nc);
      expect(lease.held).toBe(true);
      asleep = 7_100; // the machine slept: its monotonic clock stood still
      expect(lease.held).toBe(false);
      asleep = 0;
      expect(lease.held).toBe(true);
      const now = performance.now();
      vi.spyOn(performance, 'now').mockReturnValue(now + 7_100); // the process was stopped, and the host's clock set back
      expect(lease.held).toBe(false);
    } finally {
      lease.detach();
      await nc.close();
      await nats.close();
    }
  });
});
