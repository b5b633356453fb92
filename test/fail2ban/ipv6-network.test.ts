import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { config } from '../../src/config/schema.js';
import { bansOn, parseStatus } from '../../src/fail2ban/client.js';
import Database from '../../src/load-sqlite.js';
import { createFail2banSink } from '../../src/sinks/files/fail2ban-sink.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';
import { fail2banConfig, NEVER } from '../sinks/files/files-fixture.js';
import { openSource, reading, request, START, TABLE, temporaryDirectory } from '../source/postern-fixture.js';

const there = hasFail2ban();
if (!there)
  console.warn('SKIPPED: fail2ban is not installed: who guesses from many addresses of one network');

const ADDRESSES = 60;
const GUESSES = 4;

describe.skipIf(!there)('an attacker who guesses four times from each of 60 addresses of one /64', () => {
  let fail2ban: PrivateFail2ban;
  afterEach(() => fail2ban.close());

  /** The guesses as rows of a real table, through reader and sink, before the real fail2ban with its five failures. */
  async function guess(
    rules: Record<string, unknown>,
  ): Promise<{ failed: number; banned: readonly string[] }> {
    fail2ban = new PrivateFail2ban();
    fail2ban.client('set', 'posternproxy', 'maxretry', '5');
    const database = `${temporaryDirectory(onTestFinished)}/posternproxy.db`;
    const db = new Database(database);
    db.exec(TABLE);
    const insert = db.prepare(
      `INSERT INTO audit_log (created_at, action, resource_type, ip_address) VALUES (datetime('now'), 'login_failed', 'auth', ?)`,
    );
    for (let n = 0; n < ADDRESSES * GUESSES; n++) insert.run(`2001:db8:1:2::${(n % ADDRESSES) + 1}`);
    db.close();
    const { source } = openSource(database, { classify: createClassifier() });
    // A table with a rollback journal is read in steps of 2 ms.
    const events: AuditEvent[] = [];
    let upTo = 0;
    while (upTo < ADDRESSES * GUESSES) {
      const look = reading(source.read(request(START, { after: upTo })));
      events.push(...look.events);
      upTo = look.upTo;
    }
    const log = pino({ level: 'silent' });
    const deps = { name: 'auth', clock: Date.now, minFree: 0, log };
    const sink = createFail2banSink(
      fail2banConfig(fail2ban.authDirectory),
      config.parse({ fail2ban: rules }).fail2ban,
      deps,
    );
    await sink.open(null);
    await sink.deliver({ source: 'postern', timeline: 1, events, upTo }, NEVER);
    await sink.close();
    const deadline = Date.now() + 60_000;
    for (;;) {
      const { failed, banned } = parseBoth(fail2ban.client('status', 'posternproxy'));
      if (failed < events.length && Date.now() < deadline) {
        await sleep(200);
        continue;
      }
      if (banned.length > 0) return { failed, banned };
      await sleep(3_000); // a ban comes within a second after the failures, and that none comes is to be seen, too
      return parseBoth(fail2ban.client('status', 'posternproxy'));
    }
  }

  function parseBoth(status: string): { failed: number; banned: readonly string[] } {
    const { totalFailed: failed, banned } = parseStatus(status);
    return { failed, banned };
  }

  it('has his network banned', async () => {
    const { failed, banned } = await guess({});
    expect(failed).toBe(ADDRESSES * GUESSES);
    expect(banned).toEqual(['2001:db8:1:2::/64']);
    expect(bansOn('2001:db8:1:2:ffff::1', banned)).toEqual(banned);
  });

  it('is not banned with ipv6_prefix: 128, nor by an action that cannot ban networks', async () => {
    expect(await guess({ ipv6_prefix: 128 })).toEqual({ failed: ADDRESSES * GUESSES, banned: [] });
    fail2ban.close();
    expect(await guess({ banaction: 'iptables-ipset-proto6' })).toEqual({
      failed: ADDRESSES * GUESSES,
      banned: [],
    });
  });
});
