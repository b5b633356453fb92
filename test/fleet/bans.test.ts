import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { initFleet } from '../../src/fleet/init.js';
import { formatFleet, subjectOf } from '../../src/formats/fleet-message.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';
import { failure } from '../sinks/files/files-fixture.js';
import { Member } from './fleet-fixture.js';
import { hasNats, Nats } from './nats.js';

const able = hasNats() && hasFail2ban();
if (!able && process.env.CI !== undefined) throw new Error('nats-server or fail2ban is not installed');

const LIMIT = 6;

describe.skipIf(!able)('fleet-wide bans, with the real fail2ban', () => {
  let nats: Nats;
  const fail2bans: PrivateFail2ban[] = [];
  const members: Member[] = [];

  beforeAll(async () => {
    nats = await Nats.start();
    await nats.ready();
    await initFleet({ servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 }, STREAM_DEFAULTS);
    for (const name of ['a', 'b', 'c']) {
      const fail2ban = new PrivateFail2ban();
      fail2ban.client('set', 'posternproxy', 'maxretry', '5');
      fail2ban.client('set', 'posternproxy', 'findtime', '600');
      fail2bans.push(fail2ban);
      members.push(
        new Member(name, nats.urls, {
          sinks: `  auth: { type: fail2ban, directory: ${fail2ban.authDirectory}, group: null }`,
          extra: `fleet: { bans: subscribe, never_ban: [198.51.100.0/24], limit: { addresses: ${LIMIT}, failures: 200 } }`,
        }),
      );
    }
    await Promise.all(members.map((member) => member.start()));
    for (const member of members)
      await member.until(({ fleet }) => fleet?.link.connected === true, 'connected');
  });

  afterAll(async () => {
    for (const member of members) await member.close();
    for (const fail2ban of fail2bans) fail2ban.close();
    await nats?.close();
  });

  function fail(at: number, address: string, times: number): void {
    for (let n = 0; n < times; n++)
      members[at]?.recorder.record({ action: 'auth.login_failure', address, user: { name: 'eve' } });
  }

  function banned(at: number): string[] {
    const text = fail2bans[at]?.client('status', 'posternproxy') ?? '';
    return (/Banned IP list:\s*(.*)/.exec(text)?.[1] ?? '').split(/\s+/).filter((word) => word !== '');
  }

  function seen(at: number): number {
    return Number(/Total failed:\s*(\d+)/.exec(fail2bans[at]?.client('status', 'posternproxy') ?? '')?.[1]);
  }

  /** Publishes a failed login under any server name. */
  function forged(server: string, sequence: number, over: Partial<AuditEvent>) {
    const event = failure(sequence, {
      type: createClassifier()('auth.login_failure', null),
      id: `${'f'.repeat(8)}${sequence.toString(16).padStart(24, '0')}`,
      time: Date.now(),
      server,
      ...over,
    });
    return { subject: subjectOf(server, event), body: formatFleet(event, server, 0, 2 ** 20).body };
  }

  it('five failures, spread over servers A, B and C, ban on all three within 5 s; four ban on none', async () => {
    fail(0, '203.0.113.4', 2);
    fail(1, '203.0.113.4', 1);
    fail(2, '203.0.113.4', 1);
    fail(0, '203.0.113.9', 2);
    fail(1, '203.0.113.9', 2);
    fail(2, '203.0.113.9', 1);
    const last = Date.now();
    const all = () => [0, 1, 2].every((at) => banned(at).includes('203.0.113.9'));
    while (!all() && Date.now() < last + 300_000) await sleep(100);
    console.log(`banned on all three after ${Date.now() - last} ms`);
    expect([0, 1, 2].map(banned)).toEqual([['203.0.113.9'], ['203.0.113.9'], ['203.0.113.9']]);
    // Each server has counted each of the nine once: the stream does not double its own, and four do not ban.
    while ([0, 1, 2].some((at) => seen(at) < 9) && Date.now() < last + 300_000) await sleep(100);
    await sleep(1_500);
    expect([0, 1, 2].map(seen)).toEqual([9, 9, 9]);
    expect([0, 1, 2].map((at) => banned(at).includes('203.0.113.4'))).toEqual([false, false, false]);
  });

  it('an edited row never counts at other servers: a failure is published once, and a row that becomes one later is not', async () => {
    const [a] = members;
    if (a === undefined) throw new Error('no member');
    const before = [0, 1, 2].map(seen);
    const change = async (id: number, action: string, versions: number) => {
      a.db.prepare('UPDATE audit_log SET action = ? WHERE id = ?').run(action, id);
      await a.until(
        ({ sinks }) =>
          Number(sinks.stream?.cursors.auditd?.id ?? 0) >= versions && sinks.stream?.lag_events === 0,
        `version ${versions}`,
      );
      await sleep(1_100); // at most one version of a row a second
    };
    const first = Number((await a.status())?.sinks.stream?.cursors.auditd?.id ?? 0);
    const failed = a.recorder.record({ action: 'auth.login_failure', address: '203.0.113.30' });
    const tried = a.recorder.record({ action: 'auth.login_success', address: '203.0.113.31' });
    await expect.poll(() => [0, 1, 2].map(seen), { timeout: 60_000 }).toEqual(before.map((n) => n + 1));
    await change(failed, 'user.update', first + 1);
    await change(failed, 'auth.login_failure', first + 2);
    await change(tried, 'auth.login_failure', first + 3);
    await expect.poll(() => seen(0), { timeout: 60_000 }).toBe((before[0] ?? 0) + 2);
    await sleep(2_500);
    // At its own server the row that became a failure counts once.
    expect([0, 1, 2].map(seen)).toEqual(before.map((n, at) => (at === 0 ? n + 2 : n + 1)));
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    const { body } = forged('d', 900, { source: 'auditd', revisionOf: 3, address: '203.0.113.32' });
    nc.publish('postern.audit.d.auth.login_failure', body);
    await nc.drain();
    const bans = (status: { fleet?: { bans: unknown } | null }) =>
      status.fleet?.bans as Record<string, number>;
    await a.until((status) => bans(status).refused_revision_total === 1, 'refused');
    expect([1, 2].map(seen)).toEqual([1, 2].map((at) => (before[at] ?? 0) + 1));
  });

  it('a failure that is published twice, late, or under the name of another server is not counted', async () => {
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    const after = [0, 1, 2].map((at) => seen(at) + 1);
    const once = forged('d', 1, { address: '203.0.113.20' });
    for (let n = 0; n < 10; n++) nc.publish(once.subject, once.body);
    for (let n = 2; n < 12; n++) {
      const late = forged('d', n, { address: '203.0.113.21', time: Date.now() - 120_000 });
      const early = forged('d', n + 20, { address: '203.0.113.22', time: Date.now() + 120_000 });
      const third = forged('d', n + 40, { address: '203.0.113.23', server: 'somebody' });
      const { body } = forged('e', n + 60, { address: '203.0.113.24' });
      nc.publish(late.subject, late.body);
      nc.publish(early.subject, early.body);
      nc.publish('postern.audit.d.auth.login_failure', third.body);
      nc.publish('postern.audit.d.auth.login_failure', body);
      nc.publish('postern.audit.d.auth.login_failure', 'no JSON');
    }
    await nc.drain();
    await members[0]?.until(
      ({ fleet }) => (fleet?.bans as Record<string, number> | null)?.refused_unreadable_total === 20,
      'all refused',
    );
    const { fleet } = (await members[0]?.status()) ?? {};
    expect(fleet?.bans).toMatchObject({
      refused_twice_total: 9,
      refused_not_fresh_total: 20,
      refused_not_its_own_total: 10,
      refused_unreadable_total: 20,
    });
    await expect.poll(() => [0, 1, 2].map(seen)).toEqual(after);
    await sleep(2_500);
    expect([0, 1, 2].map(seen)).toEqual(after);
  });

  it('failures of a server that was disconnected for 15 minutes ban nobody when they arrive', async () => {
    const [a, b, c] = members;
    if (a === undefined || b === undefined || c === undefined) throw new Error('no members');
    const before = [0, 1, 2].map(seen);
    const told = (status: { fleet?: { bans: unknown } | null }) =>
      Number((status.fleet?.bans as Record<string, number> | null)?.refused_not_fresh_total ?? 0);
    const refusedBefore = told(await a.until(() => true, 'its status')); // on a busy machine one call may time out
    await c.kill();
    const insert = c.db.prepare(
      "INSERT INTO audit_log (created_at, user_name, action, ip_address) VALUES (?, 'eve', 'auth.login_failure', '203.0.113.77')",
    );
    for (let n = 0; n < 20; n++)
      insert.run(new Date(Date.now() - 900_000 + n * 1_000).toISOString().slice(0, 19).replace('T', ' '));
    await c.start();
    await c.until(({ sinks }) => sinks.stream?.lag_events === 0 && sinks.auth?.lag_events === 0, 'published');
    await a.until((status) => told(status) === refusedBefore + 20, 'refused');
    await sleep(2_000);
    expect([0, 1, 2].map(seen)).toEqual(before);
    expect([0, 1, 2].flatMap(banned)).not.toContain('203.0.113.77');
  });

  it("a rogue server's flood bans nobody on the never-ban lists, and no more than its limit", async () => {
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    let sequence = 1_000;
    for (let n = 0; n < 400; n++) {
      for (const address of [`198.51.100.${n % 250}`, '127.0.0.1', `203.0.113.${100 + (n % 100)}`]) {
        for (let times = 0; times < 5; times++) {
          const { subject, body } = forged('rogue', sequence++, { address });
          nc.publish(subject, body);
        }
      }
    }
    await nc.drain();
    await members[0]?.until(({ fleet }) => {
      const bans = fleet?.bans as Record<string, number>;
      return (
        (bans.refused_too_many_addresses_total ?? 0) + (bans.refused_too_many_failures_total ?? 0) > 1_000
      );
    }, 'the limit');
    for (const at of [0, 1, 2])
      await expect
        .poll(() => banned(at).filter((address) => address !== '203.0.113.9').length)
        .toBeGreaterThan(0);
    await sleep(4_000);
    for (const at of [0, 1, 2]) {
      const addresses = banned(at).filter((address) => address !== '203.0.113.9');
      expect(addresses.length).toBeGreaterThan(0);
      expect(addresses.length).toBeLessThanOrEqual(LIMIT);
      expect(addresses.filter((address) => !address.startsWith('203.0.113.1'))).toEqual([]);
    }
    const says = members[0]?.output.match(/has reached fleet\.limit/g) ?? [];
    expect(says.length).toBe(1);
  });

  it('no server publishes failures that it received from others', async () => {
    for (const member of members) {
      const status = await member.until(({ sinks }) => sinks.stream?.lag_events === 0, 'all shipped');
      expect(status.sinks.stream?.cursors).not.toHaveProperty('fleet');
      expect(status.sinks.auth?.looks).toHaveProperty('fleet');
    }
  });

  it('a daemon that is killed and restarted counts nothing twice, and does not reset the limits', async () => {
    const [a] = members;
    if (a === undefined) throw new Error('no member');
    const before = seen(0);
    await a.kill();
    await a.start();
    await a.until(({ fleet }) => fleet?.link.connected === true, 'connected');
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    for (let n = 0; n < 50; n++) {
      const { subject, body } = forged('rogue', 50_000 + n, { address: `203.0.113.${200 + (n % 10)}` });
      nc.publish(subject, body);
    }
    const once = forged('d', 1, { address: '203.0.113.20' });
    nc.publish(once.subject, once.body);
    await nc.drain();
    const status = await a.until(({ fleet }) => {
      const bans = fleet?.bans as Record<string, number>;
      return (bans.refused_too_many_addresses_total ?? 0) + (bans.refused_too_many_failures_total ?? 0) >= 40;
    }, 'the limit');
    expect(status.fleet?.bans?.admitted_total).toBeLessThanOrEqual(10);
    await sleep(2_500);
    expect(seen(0)).toBeLessThanOrEqual(before + 10);
  });
});
