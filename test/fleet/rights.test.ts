import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { initFleet } from '../../src/fleet/init.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { Hub, Member } from './fleet-fixture.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

describe.skipIf(!hasNats())('the rights of docs/guide/FLEET.md', () => {
  const closing: Array<{ close(): Promise<void> }> = [];

  afterAll(async () => {
    for (const one of closing.reverse()) await one.close();
  });

  it("the documented permissions suffice for a server and the hub, and a server can't publish as another", async () => {
    const block =
      /```\n(accounts \{[\s\S]*?)```/.exec(readFileSync('docs/guide/FLEET.md', 'utf8'))?.[1] ?? '';
    const nats = await Nats.start({ extra: block.replaceAll('"$2a$…"', '"pw"') });
    closing.push(nats);
    await nats.ready(30_000, { user: 'admin', pass: 'pw' });
    const password = join(nats.directory, 'pw');
    writeFileSync(password, 'pw');
    const login = (user: string) => ({ user, password, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 });
    await initFleet({ servers: nats.urls, ...login('admin') }, STREAM_DEFAULTS);
    const sink = `user: web1, password: ${password}`;
    const member = (name: string) => {
      const made = new Member(name, nats.urls, {
        login: sink,
        sinks: '  auth: { type: fail2ban, directory: $DIR/auth, group: null }',
        extra: 'fleet: { bans: subscribe, heartbeat: 1s }',
      });
      closing.push(made);
      return made;
    };
    const [own, forger] = [member('web1'), member('web2')];
    const hub = new Hub('hub-1', nats.urls, { login: `user: hub, password: ${password}` });
    closing.push(hub);
    await Promise.all([own.start(), forger.start(), hub.start()]);
    own.append(50);
    forger.append(50);
    const { fleet } = await hub.until(
      (status) =>
        (status.fleet?.hub?.inserted_total ?? 0) >= 50 &&
        status.fleet?.lease?.held === true &&
        status.fleet.servers.some(({ server, heartbeat_age }) => server === 'web1' && heartbeat_age !== null),
      'rows, lease, heartbeat',
    );
    expect(fleet?.hub?.refused_total).toBe(0);
    await own.until(
      ({ fleet: is, sinks }) => is?.link.connected === true && sinks.stream?.lag_events === 0,
      'published',
    );
    await forger.until(
      ({ sinks }) => /[Pp]ermission/.test(sinks.stream?.last_error?.message ?? ''),
      'refused',
    );
    await sleep(500);
    expect(hub.countOf('web1')).toBe(50);
    expect(hub.countOf('web2')).toBe(0);
  });
});
