import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { TableRows } from '../../src/retention/archive/table-rows.js';
import { deleteOwn } from '../../src/retention/auditd-table.js';
import { LegalHolds } from '../../src/retention/legal-holds.js';
import { rowHash } from '../../src/retention/purge/row-hash.js';
import { AUDITD_TABLE } from '../../src/source/table-schema.js';
import { CLI } from '../support/daemon-process.js';
import { DaemonRig } from './daemon-fixture.js';

let rig: DaemonRig;

beforeEach(() => {
  const archive = join(mkdirIn(), 'archive');
  mkdirSync(archive, { recursive: true });
  rig.configure(`retention: { archive: { directory: ${archive} } }`);
});

function mkdirIn(): string {
  rig = new DaemonRig();
  return rig.directory;
}

afterEach(() => rig.close());

async function restart(): Promise<void> {
  await rig.start();
  await rig.kill('SIGTERM');
}

function inState<T>(work: (db: Database) => T): T {
  const db = new Database(join(rig.directory, 'state', 'state.db'));
  try {
    return work(db);
  } finally {
    db.close();
  }
}

const missing = () =>
  inState((db) =>
    (
      db
        .prepare("SELECT details FROM audit_log WHERE action LIKE '%own_events_missing'")
        .pluck()
        .all() as string[]
    ).map((details) => (JSON.parse(details) as { ids: string }).ids),
  );

function verify() {
  return spawnSync(process.execPath, [CLI, 'archive', 'verify', '--config', rig.configPath], {
    encoding: 'utf8',
  });
}

it.each([
  ['in the middle', 'DELETE FROM audit_log WHERE id IN (2, 3)', '2 to 3'],
  ['at the end', 'DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)', '4'],
])(
  'the daemon notices events that were deleted from state.db %s, once, and so does verify',
  async (_, sql, ids) => {
    for (const _ of [1, 2]) await restart();
    expect(verify()).toMatchObject({ status: 0 });
    inState((db) => db.exec(sql));
    const found = verify();
    expect(found.stdout).toContain(`not by retention: ids ${ids}\n`);
    expect(found.status).toBe(1);
    for (const _ of [1, 2]) await restart();
    expect(missing()).toEqual([ids]);
    expect(verify().status).toBe(1);
  },
);

it('reports no row as missing that retention has deleted', async () => {
  for (const _ of [1, 2]) await restart();
  inState((db) => {
    const rows = new TableRows(db, AUDITD_TABLE, { identify: () => ({ id: '', length: 0 }) }).byIds([1, 2]);
    expect(
      deleteOwn(
        db,
        rows.map((row) => [row.id, rowHash(row)] as const),
        LegalHolds.NONE,
      ).deleted,
    ).toBe(2);
  });
  await restart();
  expect(missing()).toEqual([]);
  expect(verify().status).toBe(0);
});
