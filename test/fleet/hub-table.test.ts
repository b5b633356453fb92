import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Admission } from '../../src/fleet/admission.js';
import { HOLD_MS, HubTable, type Received } from '../../src/fleet/hub-table.js';
import { formatFleet, parseFleet, subjectOf, subjectToken } from '../../src/formats/fleet.js';
import Database from '../../src/sqlite.js';
import { failure } from '../sinks/local.js';

function message(sequence: number, after: number, server = 'a', timeline = 1): Received {
  const id = Buffer.from(`${server}/${timeline}/${sequence}`).toString('hex').padEnd(32, '0').slice(0, 32);
  const event = failure(sequence, { server, timeline, id });
  const subject = subjectOf(subjectToken(server), event);
  const { body } = formatFleet(event, server, after, 2 ** 20);
  const parsed = parseFleet(subject, body);
  if (typeof parsed === 'string') throw new Error(parsed);
  return { subject, body, event: parsed };
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

  it('has each event once and in order, in whatever order and however often the messages come, also over a death', () => {
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
            table.take([one], 's', position(at), 0);
            if (at !== death) return;
            table.close();
            table = new HubTable(directory);
          });
          expect(rows()).toEqual(chain.map(({ event }) => event.sequence));
          expect(table.heldNow).toBe(0);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('lets nobody wait for another server, nor for another history', () => {
    table.take(
      [message(1, 0), message(3, 2), message(1, 0, 'b'), message(2, 1, 'b'), message(9, 0, 'a', 2)],
      's',
      position(5),
      0,
    );
    expect([rows(), rows('b'), rows('a', 2)]).toEqual([[1], [1, 2], [9]]);
    expect(table.heldNow).toBe(1);
  });

  it('gives up on what does not come after ten minutes, and keeps the order of the rest', () => {
    table.take([message(1, 0), message(5, 4), message(4, 3)], 's', position(3), 1_000);
    expect(table.expire(1_000 + HOLD_MS - 1)).toMatchObject({ inserted: 0 });
    expect(table.expire(1_000 + HOLD_MS)).toMatchObject({ inserted: 2, disordered: 1 });
    expect(rows()).toEqual([1, 4, 5]);
    table.take([message(3, 1)], 's', position(4), 2_000_000);
    expect(rows()).toEqual([1, 4, 5, 3]); // late, but not lost
  });

  it('takes no row again that retention has removed, also over a death, also from another connection', () => {
    const messages = [message(1, 0), message(2, 1), message(3, 2)];
    table.take(messages, 's', position(3), 0);
    const other = new Database(table.path);
    other.exec('DELETE FROM audit_log WHERE origin_id < 3');
    other.close();
    expect(table.take(messages, 's', position(6), 0)).toMatchObject({ inserted: 0, duplicates: 3 });
    table.close();
    table = new HubTable(directory);
    table.take([...messages, message(4, 3)], 's', position(10), 0);
    expect(rows()).toEqual([3, 4]);
  });

  it('moves its place in the stream with the rows, or not at all', () => {
    table.take([message(1, 0)], 's', position(7), 0);
    const broken = { ...message(2, 1), event: { ...message(2, 1).event, columns: [] } };
    expect(() => table.take([message(2, 1), broken], 's', position(9), 0)).toThrow();
    expect(table.position('s')).toEqual(position(7));
    table.take([message(2, 1)], 's', position(9), 0);
    expect(rows()).toEqual([1, 2]);
  });
});

describe('what another server may bring in', () => {
  it('is bounded in addresses and in failures, per server, over a window that slides', () => {
    const admission = new Admission({ addresses: 2, failures: 5, windowMs: 60_000 });
    expect(admission.admit('a', '192.0.2.1', 0)).toBeNull();
    expect(admission.admit('a', '192.0.2.2', 1_000)).toBeNull();
    expect(admission.admit('a', '192.0.2.3', 2_000)).toBe('too_many_addresses');
    expect(admission.admit('b', '192.0.2.3', 2_000)).toBeNull();
    for (const at of [3_000, 4_000, 5_000]) expect(admission.admit('a', '192.0.2.1', at)).toBeNull();
    expect(admission.admit('a', '192.0.2.1', 6_000)).toBe('too_many_failures');
    expect(admission.isExhausted('a', 6_000)).toBe(true);
    expect(admission.isExhausted('a', 64_500)).toBe(false);
    expect(admission.admit('a', '192.0.2.3', 64_500)).toBeNull();
    expect(admission.admit('a', '192.0.2.4', 64_500)).toBe('too_many_addresses');
  });

  it('never lets in more than the limit within a window, whatever comes when', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.nat(3_000)), { maxLength: 300 }), (tries) => {
        const admission = new Admission({ addresses: 3, failures: 1_000, windowMs: 10_000 });
        let now = 1_000_000;
        const admitted: Array<[string, number]> = [];
        for (const [address, pause] of tries) {
          now += pause;
          const name = `192.0.2.${address}`;
          if (admission.admit('a', name, now) === null) admitted.push([name, now]);
          const recent = new Set(admitted.filter(([, at]) => at > now - 10_000).map(([each]) => each));
          expect(recent.size).toBeLessThanOrEqual(3);
        }
      }),
    );
  });
});
