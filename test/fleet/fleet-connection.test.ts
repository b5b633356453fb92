import { afterEach, describe, expect, it } from 'vitest';
import { jetstreamSink } from '../../src/config/jetstream.js';
import { FleetConnection } from '../../src/fleet/fleet-connection.js';
import { dependencies } from '../sinks/files/files-fixture.js';
import { listen, type TestServer } from '../sinks/syslog/receivers.js';

const running: TestServer[] = [];

afterEach(async () => {
  for (const server of running.splice(0)) await server.close();
});

describe('the connection to the fleet', () => {
  it('the connection to the fleet stops at once even if NATS accepts it and never answers', async () => {
    for (let n = 0; n < 3; n++) running.push(await listen(() => undefined));
    const nats = jetstreamSink.parse({
      type: 'jetstream',
      servers: running.map(({ target }) => `nats://${target}`),
      connect_timeout: '30s',
    });
    const link = new FleetConnection({ nats, name: 'web1', parts: [], log: dependencies().deps.log });
    link.start();
    await expect.poll(() => running[0]?.sockets.length).toBe(1);
    await link.stop();
    expect(running.map(({ sockets }) => sockets.length)).toEqual([1, 0, 0]);
    expect(link.status()).toMatchObject({ connected: false, connects_total: 0 });
  });
});
