import { afterEach, beforeEach, expect, it } from 'vitest';
import { config as schema } from '../../src/config/schema.js';
import Database from '../../src/load-sqlite.js';
import { QueryEngine } from '../../src/query/engine.js';
import { EVERYTHING } from '../../src/query/filter.js';
import { pendingArchives, rowsOf } from '../../src/retention/unfinished-archives.js';
import { fingerprintOf } from '../../src/source/event-id.js';
import { ShippingRig } from '../shipping/shipping-fixture.js';
import { NOW, RetentionRig, sqlTime } from './retention-fixture.js';

let shipping: ShippingRig;
let retention: RetentionRig;

beforeEach(async () => {
  shipping = new ShippingRig();
  await shipping.start();
  retention = new RetentionRig(undefined, shipping.database);
});
afterEach(async () => {
  retention.close();
  await shipping.close();
});

function archived() {
  return pendingArchives(retention.archive, null).flatMap((manifest) =>
    [...rowsOf(retention.archive, manifest)].flat(),
  );
}

it('a row edited after shipping is archived and removed with its current values, and begins no new history', async () => {
  shipping.append(5);
  await shipping.settle();
  const within = shipping.change(2); // shipped as a version
  await shipping.settle();
  shipping.pass(61_000);
  const later = shipping.change(4); // too late to be found
  await shipping.settle();
  shipping.sql(`INSERT INTO audit_log (created_at, action) VALUES ('${sqlTime(NOW)}', 'update')`);
  await shipping.settle();
  const shipped = shipping.sinks.good.got.length;
  expect(shipped).toBe(5 + 1 + 1);

  const mark = shipping.status()?.sources.postern?.mark ?? 0;
  const { targets } = await retention.run('keep: { default: 7d }', { limit: mark + 1 });
  expect(targets[0]?.purged).toMatchObject({ deleted: 5, gone: 0, differ: 0, young: 0, kept: 0 });
  expect(retention.ids()).toEqual([6]);
  const rows = archived();
  expect(rows.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5]);
  expect([rows[1]?.columns.details, rows[3]?.columns.details]).toEqual([within, later]);

  await shipping.settle();
  await shipping.stop();
  await shipping.start();
  shipping.append(1);
  await shipping.settle();
  expect(shipping.replaced).toEqual([]);
  expect(shipping.sinks.good.got.length).toBe(shipped + 1);
});

it('an archived edited row has the id of its newest version, and is one entry in queries over archives', async () => {
  shipping.append(3);
  await shipping.settle();
  shipping.change(2, 'auth.login_failure');
  await shipping.settle();
  shipping.sql(`INSERT INTO audit_log (created_at, action) VALUES ('${sqlTime(NOW)}', 'update')`);
  await shipping.settle();
  const state = new Database(shipping.stateDatabase, { readonly: true });
  const sourceId = state.prepare("SELECT value FROM meta WHERE key = 'source_id'").pluck().get() as string;
  const known = state.prepare('SELECT fingerprint FROM revision WHERE id = 2').pluck().get();
  state.close();
  await retention.run('keep: { default: 7d }', { sourceId });
  expect(fingerprintOf(archived()[1]?.eventId ?? '')).toBe(known);
  const { source, redact } = schema.parse({ source: { database: shipping.database } });
  const options = { ...source, redact, stateDatabase: shipping.stateDatabase, server: 'here' };
  const engine = new QueryEngine({ ...options, archives: retention.archive });
  const stats = engine.stats({ ...EVERYTHING, archives: true }, 10, 60_000);
  engine.close();
  expect(stats).toMatchObject({ total: 4, failed_logins: 1 });
});
