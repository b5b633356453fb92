import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FailureLimiter } from '../../src/fleet/failure-limits.js';
import { HOLD_MS, HubTable, type Received, SLACK_MS } from '../../src/fleet/hub-table.js';
import { RemoteFailureTable } from '../../src/fleet/remote-failure-table.js';
import { formatFleet, parseFleet, subjectOf, subjectToken } from '../../src/formats/fleet-message.js';
import Database from '../../src/load-sqlite.js';
import { failure } from '../sinks/files/files-fixture.js';

function message(sequence: number, after: number, server = 'a', timeline = 1, time = 0): Received {
  const id = Buffer.from(`${server}/${timeline}/${sequence}`).toString('hex').padEnd(32, '0').slice(0, 32);
  const event = failure(sequence, { server, timeline, id });
  const subject = subjectOf(subjectToken(server), event);
  const { body } = formatFleet(event, server, after, 2 ** 20);
  const parsed = parseFleet(subject, body);
  if (typeof parsed === 'string') throw new Error(parsed);
  return { subject, body, event: parsed, time };
}

describe("the hub's table", () => {
  let directory: string;
  let table: HubTable;
  const position = (sequence: number) => ({ created: 'then', sequence, messageId: 'm' });

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'postern-hub-'));
    table = new HubTable(directory);
  });

  afterEach(() => {
    table.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function rows(server = 'a', timeline = 1): number[] {
    return table.db
      .prepare('SELECT origin_id FROM audit_log WHERE origin = ? AND origin_timeline = ? ORDER BY id')
      .pluck()
      .all(server, timeline) as number[];
  }

  it("the hub's table has each event once and in order, whatever the order and the number of the messages, also across a crash", () => {
    const chain = Array.from({ length: 12 }, (_, at) => message((at + 1) * 3, at * 3));
    fc.assert(
      fc.property(
        fc.shuffledSubarray(chain.slice(1), { minLength: 11 }),
        fc.nat(11),
        fc.nat(11),
        (late, again, death) => {
          table.db.exec('DELETE FROM audit_log; DELETE FROM removed; DELETE FROM origin; DELETE FROM held');
          table.close();
          table = new HubTable(directory);
          const first = chain[0] as Received;
          const messages = [first, ...late, chain[again] as Received];
          messages.forEach((one, at) => {
            table.insertBatch([one], 's', position(at), 0);
            if (at !== death) return;
            table.close();
            table = new HubTable(directory);
          });
          expect(rows()).toEqual(chain.map(({ event }) => event.sequence));
          expect(table.heldCount).toBe(0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("the hub's table never makes events wait for another server, or for another history", () => {
    table.insertBatch(
      [message(1, 0), message(3, 2), message(1, 0, 'b'), message(2, 1, 'b'), message(9, 0, 'a', 2)],
      's',
      position(5),
      0,
    );
    expect([rows(), rows('b'), rows('a', 2)]).toEqual([[1], [1, 2], [9]]);
    expect(table.heldCount).toBe(1);
  });

  it("the hub's table stops waiting for a missing event after ten minutes, and keeps the order of the rest", () => {
    const at = (sequence: number, after: number) => message(sequence, after, 'a', 1, 1_000);
    table.insertBatch([at(1, 0), at(5, 4), at(4, 3)], 's', position(3), 1_000);
    expect(table.expire(1_000 + HOLD_MS + SLACK_MS - 1)).toMatchObject({ inserted: 0 });
    expect(table.expire(1_000 + HOLD_MS + SLACK_MS)).toMatchObject({ inserted: 2, disordered: 1 });
    expect(rows()).toEqual([1, 4, 5]);
    table.insertBatch([message(3, 1)], 's', position(4), 2_000_000);
    expect(rows()).toEqual([1, 4, 5, 3]); // late, but not lost
  });

  it("each hub's table has the same order, whenever it reads: one hub can resume after the last row of the other", () => {
    const late = 1_000 + HOLD_MS;
    const stream = [
      message(10, 0, 'web1', 1, 1_000),
      message(12, 11, 'web1', 1, 1_000), // 11 never arrives
      message(1, 0, 'web2', 1, late - 1),
      message(2, 1, 'web2', 1, late + 1),
      message(3, 2, 'web2', 1, late + 2),
    ];
    const all = () =>
      table.db.prepare("SELECT origin || ':' || origin_id FROM audit_log ORDER BY id").pluck().all();
    const orders = fc.sample(fc.tuple(fc.subarray([1, 2, 3, 4]), fc.boolean()), 30).map(([cuts, dies]) => {
      table.db.exec('DELETE FROM audit_log; DELETE FROM removed; DELETE FROM origin; DELETE FROM held');
      table.close();
      table = new HubTable(directory);
      [0, ...cuts].forEach((from, at) => {
        const to = cuts[at] ?? stream.length;
        // The wait is over by this hub's clock, but only the clock of the stream decides.
        table.insertBatch(stream.slice(from, to), 's', position(to), (stream[to - 1]?.time ?? 0) + 50_000);
        table.expire((stream[to - 1]?.time ?? 0) + SLACK_MS - 1);
        if (!dies) return;
        table.close();
        table = new HubTable(directory);
      });
      return all();
    });
    for (const order of orders) expect(order).toEqual(['web1:10', 'web2:1', 'web1:12', 'web2:2', 'web2:3']);
  });

  it('no server can suppress the event of another by forging its id', () => {
    const own = message(1, 0, 'web2');
    const forged: Received = {
      ...message(1, 0, 'web1'),
      event: { ...message(1, 0, 'web1').event, id: own.event.id },
    };
    table.insertBatch([forged, own, own], 's', position(3), 0);
    expect([rows('web1'), rows('web2')]).toEqual([[1], [1]]);
    table.close();
    table = new HubTable(directory);
    expect(table.insertBatch([own, forged], 's', position(5), 0)).toMatchObject({
      inserted: 0,
      duplicates: 2,
    });
  });

  it('two servers with one name lose nothing if they have different rows with one number', () => {
    const other = message(5, 4, 'a');
    const twin: Received = { ...other, event: { ...other.event, id: 'f'.repeat(32) } };
    const body = other.body.replace(other.event.id, twin.event.id);
    table.insertBatch([message(1, 0), other, { ...twin, body }, other], 's', position(4), 0);
    table.insertBatch([message(4, 1)], 's', position(5), 0);
    expect(rows()).toEqual([1, 5, 4, 5]);
  });

  it("the hub's table knows the last row of each server, also after two gaps and a crash", () => {
    table.insertBatch([message(1, 0), message(80, 1), message(7, 0, 'b')], 's', position(3), 5_000);
    const known = () => table.knownServers(10).map(({ server, row }) => `${server} ${row}`);
    table.forgetOrder('s', null);
    expect(known().sort()).toEqual(['a 80', 'b 7']);
    table.insertBatch([message(90, 89)], 's', position(4), 6_000);
    table.forgetOrder('s', null);
    table.close();
    table = new HubTable(directory);
    table.forgetOrder('s', null);
    expect(known().sort()).toEqual(['a 90', 'b 7']);
    expect(table.lastEvents().map(({ origin, seen }) => [origin, seen])).toEqual([
      ['a', 6_000],
      ['b', 5_000],
    ]);
    table.insertBatch([message(95, 94)], 's', position(5), 7_000); // waits for nobody
    expect(rows()).toEqual([1, 80, 90, 95]);
  });

  it("the hub's table keeps the time of the last event of a server when its held events are inserted after a restart", () => {
    table.insertBatch([message(1, 0), message(3, 2)], 's', position(2), 5_000);
    table.close();
    table = new HubTable(directory);
    table.expire(HOLD_MS + SLACK_MS);
    expect(rows()).toEqual([1, 3]);
    expect(table.lastEvents()).toMatchObject([{ origin: 'a', seen: 5_000, created: expect.any(String) }]);
  });

  it("the hub's table accepts numbers of any size: one that SQLite can not store stops no server", () => {
    const { subject, body } = message(1, 0);
    const odd = [1e300, 1e19, -1e19, 2 ** 63, { i: '9'.repeat(19) }, { r: 'x' }];
    const messages = odd.map((value, at) => {
      const changed = { ...JSON.parse(body), sequence: at + 1, after: at, id: `${at}`.padStart(32, '0') };
      changed.columns[1] = value;
      const event = parseFleet(subject, JSON.stringify(changed));
      if (typeof event === 'string') throw new Error(event);
      return { subject, body: JSON.stringify(changed), event, time: 0 };
    });
    expect(table.insertBatch(messages, 's', position(6), 0)).toMatchObject({ inserted: odd.length });
  });

  it("the hub's table does not accept rows again that retention has removed, also after a crash or from another connection", () => {
    const messages = [message(1, 0), message(2, 1), message(3, 2)];
    table.insertBatch(messages, 's', position(3), 0);
    const other = new Database(table.path);
    other.exec('DELETE FROM audit_log WHERE origin_id < 3');
    other.close();
    expect(table.insertBatch(messages, 's', position(6), 0)).toMatchObject({ inserted: 0, duplicates: 3 });
    table.close();
    table = new HubTable(directory);
    table.insertBatch([...messages, message(4, 3)], 's', position(10), 0);
    expect(rows()).toEqual([3, 4]);
  });

  it('the hub opens a table of an earlier release, which has no versions of edited rows, and keeps its rows', () => {
    table.insertBatch([message(1, 0)], 's', position(1), 0);
    for (const what of ['INDEX audit_log_revision', 'INDEX audit_log_origin']) table.db.exec(`DROP ${what}`);
    for (const column of ['revision_of', 'revised_action'])
      table.db.exec(`ALTER TABLE audit_log DROP COLUMN ${column}`);
    table.close();
    table = new HubTable(directory);
    const version = message(7, 0);
    const event = { ...version.event, source: 'auditd', revision: { of: 1, action: 'update' } } as const;
    table.insertBatch([message(2, 1), { ...version, event }], 's', position(3), 0);
    const sql = 'SELECT origin_id, revision_of, revised_action FROM audit_log ORDER BY id';
    expect(table.db.prepare(sql).raw().all()).toEqual([
      [1, null, null],
      [2, null, null],
      [7, 1, 'update'],
    ]);
  });

  it('the position in the stream moves together with the rows, or not at all', () => {
    table.insertBatch([message(1, 0)], 's', position(7), 0);
    const broken = { ...message(2, 1), event: { ...message(2, 1).event, columns: [] } };
    expect(() => table.insertBatch([message(2, 1), broken], 's', position(9), 0)).toThrow();
    expect(table.position('s')).toEqual(position(7));
    table.insertBatch([message(2, 1)], 's', position(9), 0);
    expect(rows()).toEqual([1, 2]);
  });
});

describe('failed logins of other servers', () => {
  it('failed logins of other servers are admitted again after the clock was set back', () => {
    const limiter = new FailureLimiter({ addresses: 2, failures: 3, windowMs: 60_000 });
    const later = 86_400_000;
    for (const n of [1, 2]) expect(limiter.admit('a', `192.0.2.${n}`, later)).toBeNull();
    expect(limiter.admit('a', '192.0.2.1', later)).toBeNull();
    expect(limiter.admit('a', '192.0.2.1', later - 500)).toBe('too_many_failures'); // no new allowance for a small step
    expect(limiter.isExhausted('a', 1_000)).toBe(false);
    expect(limiter.admit('a', '192.0.2.9', 1_000)).toBeNull();
  });

  it('failed logins of other servers are kept for a day, however many arrive', () => {
    const db = new Database(':memory:');
    const failures = new RemoteFailureTable(db);
    const count = () => db.prepare('SELECT count(*) FROM fleet_failure').pluck().get();
    const add = (from: number, now: number) =>
      failures.add(
        Array.from({ length: 2_000 }, (_, n) => ({
          eventId: `${from + n}`,
          origin: 'a',
          server: 'a',
          createdAt: null,
          userName: null,
          userEmail: null,
          address: '192.0.2.1',
        })),
        now,
      );
    for (let batch = 0; batch < 300; batch++) add(batch * 2_000, batch * 600_000); // two days and more
    expect(count()).toBeLessThanOrEqual(146 * 2_000);
    expect(count()).toBeGreaterThanOrEqual(144 * 2_000);
    db.close();
  });

  it('failed logins of other servers are limited in addresses and in failures, per server, over a sliding window', () => {
    const limiter = new FailureLimiter({ addresses: 2, failures: 5, windowMs: 60_000 });
    expect(limiter.admit('a', '192.0.2.1', 0)).toBeNull();
    expect(limiter.admit('a', '192.0.2.2', 1_000)).toBeNull();
    expect(limiter.admit('a', '192.0.2.3', 2_000)).toBe('too_many_addresses');
    expect(limiter.admit('b', '192.0.2.3', 2_000)).toBeNull();
    for (const at of [3_000, 4_000, 5_000]) expect(limiter.admit('a', '192.0.2.1', at)).toBeNull();
    expect(limiter.admit('a', '192.0.2.1', 6_000)).toBe('too_many_failures');
    expect(limiter.isExhausted('a', 6_000)).toBe(true);
    expect(limiter.isExhausted('a', 64_500)).toBe(false);
    expect(limiter.admit('a', '192.0.2.3', 64_500)).toBeNull();
    expect(limiter.admit('a', '192.0.2.4', 64_500)).toBe('too_many_addresses');
  });

  it('failed logins of other servers never exceed the limit within a window, whenever they arrive', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.nat(3_000)), { maxLength: 300 }), (tries) => {
        const limiter = new FailureLimiter({ addresses: 3, failures: 1_000, windowMs: 10_000 });
        let now = 1_000_000;
        const admitted: Array<[string, number]> = [];
        for (const [address, pause] of tries) {
          now += pause;
          const name = `192.0.2.${address}`;
          if (limiter.admit('a', name, now) === null) admitted.push([name, now]);
          const recent = new Set(admitted.filter(([, at]) => at > now - 10_000).map(([each]) => each));
          expect(recent.size).toBeLessThanOrEqual(3);
        }
      }),
    );
  });
});
