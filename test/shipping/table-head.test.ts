import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { fail2banSink } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { HeadLoop } from '../../src/shipping/head-loop.js';
import type { Feed } from '../../src/shipping/source-feed.js';
import { createFail2banSink } from '../../src/sinks/files/fail2ban-sink.js';
import { openSource, TABLE, temporaryDirectory } from '../source/postern-fixture.js';
import { PairReader } from './pair-reader.js';

let directory: string;
let db: Database;
let loop: HeadLoop;
let pair: PairReader;

/** The feed has another turn than the head, so the timeline is the one before for as long as a test needs it. */
beforeEach(async () => {
  directory = temporaryDirectory(onTestFinished);
  const database = join(directory, 'posternproxy.db');
  db = new Database(database);
  db.pragma('journal_mode = WAL');
  db.exec(TABLE);
  const clock = Date.now;
  const log = pino({ level: 'silent' });
  const { source } = openSource(database, { clock, classify: createClassifier() });
  const config = fail2banSink.parse({ type: 'fail2ban', directory: join(directory, 'auth') });
  const sink = createFail2banSink(
    config,
    { never_ban: [], ipv6_prefix: 64 },
    { name: 'auth', clock, minFree: 0, log },
  );
  const feed = { name: 'postern', source, mark: { timeline: 1 } } as unknown as Feed;
  loop = new HeadLoop({ name: 'auth', config, sink, feeds: [feed], clock, log });
  pair = new PairReader(config.directory);
  loop.start();
  await loop.settled;
});

afterEach(async () => {
  await loop.stop(1_000);
  db.close();
});

function fail(address: string): number {
  const sql = `INSERT INTO audit_log (created_at, action, resource_type, ip_address)
    VALUES (strftime('%Y-%m-%d %H:%M:%S', 'now'), 'login_failure', 'user', ?)`;
  return Number(db.prepare(sql).run(address).lastInsertRowid);
}

const removeFrom = (id: number) =>
  db.exec(
    `DELETE FROM audit_log WHERE id >= ${id}; UPDATE sqlite_sequence SET seq = ${id - 1} WHERE name = 'audit_log'`,
  );

const addresses = (): string[] => pair.lines().map(({ address }) => address);

async function written(...expected: string[]): Promise<void> {
  loop.wake();
  await expect.poll(addresses, { timeout: 30_000 }).toEqual(expected);
}

describe('a failure with a reused id, before the feed starts another timeline', () => {
  it('a failure with a reused id is written if its row replaced the old one between two reads', async () => {
    fail('203.0.113.1');
    const second = fail('203.0.113.2');
    await written('203.0.113.1', '203.0.113.2');
    db.transaction(() => {
      removeFrom(second);
      expect(fail('203.0.113.3')).toBe(second);
    })();
    // The first row is read again, and is not written again.
    await written('203.0.113.1', '203.0.113.2', '203.0.113.3');
  });

  it('a failure with a reused id is written if the highest id was seen to fall before', async () => {
    fail('203.0.113.1');
    const second = fail('203.0.113.2');
    await written('203.0.113.1', '203.0.113.2');
    removeFrom(second);
    loop.wake();
    await expect.poll(() => loop.status().looks?.postern?.id, { timeout: 30_000 }).toBe(second - 1);
    expect(fail('203.0.113.3')).toBe(second);
    await written('203.0.113.1', '203.0.113.2', '203.0.113.3');
  });
});
