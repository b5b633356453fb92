import { connect } from '@nats-io/transport-node';
import pino from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { Lease } from '../../src/fleet/lease.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

describe.skipIf(!hasNats())('the lease', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('ends by itself, by either clock, before anything of this process has run again', async () => {
    const nats = await Nats.start();
    const nc = await nats.ready().then(async () => {
      await initFleet(
        { servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 },
        STREAM_DEFAULTS,
      );
      return connect({ servers: nats.urls.map((url) => url.slice(7)) });
    });
    let asleep = 0;
    const lease = new Lease({
      stream: 'POSTERN_AUDIT',
      server: 'hub',
      clock: () => Date.now() + asleep,
      log: pino({ level: 'silent' }),
      positions: () => ({}),
      onPositions: () => undefined,
      onTaken: () => undefined,
      onLost: () => undefined,
    });
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
