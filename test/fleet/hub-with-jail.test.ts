import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { Hub, Member } from './fleet-fixture.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

describe.skipIf(!hasNats())('a hub that has a jail of its own', () => {
  let nats: Nats;
  let member: Member;
  let hub: Hub;

  beforeAll(async () => {
    nats = await Nats.start();
    await nats.ready();
    await initFleet({ servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 }, STREAM_DEFAULTS);
    member = new Member('web1', nats.urls);
    hub = new Hub('hub-1', nats.urls, {
      sinks: '  auth: { type: fail2ban, directory: $DIR/auth, start: beginning }',
    });
    await Promise.all([member.start(), hub.start()]);
  });
  afterAll(async () => {
    for (const one of [hub, member, nats]) await one?.close();
  });

  it("a hub with its own jail counts no failed login of others, not even in rows with the hub's own name", async () => {
    const insert = member.db.prepare(
      "INSERT INTO audit_log (created_at, user_name, action, resource_type, ip_address, server) VALUES (datetime('now'), 'eve', 'login_failed', 'auth', '203.0.113.77', ?)",
    );
    for (let n = 0; n < 5; n++) insert.run('hub-1');
    insert.run('web1');
    insert.run(null);
    await hub.until(() => hub.countOf('web1') === 7, 'all rows');
    const { sinks } = await hub.until(({ sinks: { auth } }) => auth?.lag_events === 0, 'judged');
    expect(sinks.auth?.figures).toMatchObject({ withheld_other_server_total: 7 });
    expect(readFileSync(join(hub.directory, 'auth/fail2ban.0.log'), 'utf8')).not.toContain('203.0.113.77');
  });
});
