import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { changedValues } from '../../src/config/reload-changes.js';
import { config as schema } from '../../src/config/schema.js';
import { controlRequest } from '../../src/control/client.js';
import Database from '../../src/load-sqlite.js';
import { listArchives } from '../../src/retention/archive/list.js';
import {
  type Anchor,
  hashOf,
  type Manifest,
  seal,
  textOfManifest,
} from '../../src/retention/archive/manifest.js';
import { CLI } from '../support/daemon-process.js';
import { DaemonRig } from './daemon-fixture.js';

let rig: DaemonRig;

beforeEach(() => {
  rig = new DaemonRig();
  rig.append(6);
});

afterEach(() => rig.close());

function run(...args: string[]): string {
  return execFileSync(process.execPath, [CLI, ...args, '--config', rig.configPath], {
    encoding: 'utf8',
    env: { ...process.env, SUDO_USER: 'ann' },
  });
}

/** The daemon's own events of an action. */
function told(word: string): Array<{ name: string | null; details: Record<string, unknown> }> {
  const db = new Database(join(rig.directory, 'state', 'state.db'), { readonly: true });
  const rows = db
    .prepare('SELECT user_name, details FROM audit_log WHERE action = ? ORDER BY id')
    .raw()
    .all(word) as Array<[string | null, string]>;
  db.close();
  return rows.map(([name, details]) => ({ name, details: JSON.parse(details) as Record<string, unknown> }));
}

const sha256 = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex');

it('records an export with the claimed user, filter, count and digest, with or without a daemon', async () => {
  await rig.start();
  const text = run('export', '--source', 'postern', '--action', 'auth.login_failure');
  const file = join(rig.directory, 'all.csv');
  run('export', '--source', 'postern', '-o', file);
  await rig.kill('SIGTERM');
  run('export', '--source', 'postern', '-o', file);
  const by = { kind: 'command', name: 'ann', claimed: true };
  const whole = { count: 6, sha256: sha256(readFileSync(file)), complete: true, file, format: 'csv', by };
  expect(told('export')).toMatchObject([
    {
      name: 'ann',
      details: {
        file: null,
        filter: { source: 'postern', action: 'auth.login_failure' },
        count: 2,
        sha256: sha256(text),
        complete: true,
        by,
      },
    },
    { name: 'ann', details: whole },
    { name: 'ann', details: whole },
  ]);
});

it('records an export by the API once, not each page', async () => {
  await rig.start();
  await controlRequest(rig.control, 'GET', '/api/audit-log?limit=2');
  await controlRequest(rig.control, 'GET', '/api/audit-log?limit=0&source=postern&format=json');
  expect(told('export')).toMatchObject([
    {
      name: 'control socket',
      details: {
        by: { kind: 'socket' },
        filter: { limit: ['0'], source: ['postern'] },
        count: 6,
        complete: true,
      },
    },
  ]);
});

it('records who removes archives, restores them, adopts an anchor and confirms the clock', async () => {
  const archive = join(rig.directory, 'archive');
  rig.configure(
    `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${archive} } }`,
  );
  const insert = rig.db.prepare("INSERT INTO audit_log (created_at, action) VALUES (?, 'update')");
  for (const month of ['01', '02']) insert.run(`2020-${month}-01 00:00:00`);
  insert.run(new Date().toISOString());
  await rig.start();
  await rig.shipped();
  await rig.durable(9);
  run('retain', '--now');
  const by = { kind: 'command', name: 'ann', claimed: true };

  const text = run('archive', 'cat', '2');
  const from = [{ sequence: 2, count: 1 }];
  const cat = { exported_from: from, archives_count: 1, format: 'rows', count: 1, sha256: sha256(text), by };
  expect(told('export')).toMatchObject([{ name: 'ann', details: { ...cat, complete: true } }]);

  const database = join(rig.directory, 'old.db');
  run('archive', 'restore', '--into', database, '1-2');
  const restored = { archives_count: 2, database, table: null, restored: 2, skipped: 0, by };
  expect(told('archive_restore')).toMatchObject([
    { name: 'ann', details: { ...restored, restored_from: [{ sequence: 1 }, { sequence: 2 }] } },
  ]);
  run('archive', 'restore', '--into', database, '1');
  expect(told('archive_restore')[1]?.details).toMatchObject({ restored: 0, skipped: 1 });

  run('retain', '--confirm-clock');
  expect(told('clock_confirm')).toMatchObject([{ details: { by } }]);

  // The situation after the loss of state.db and the first archive.
  const [first] = listArchives(archive);
  for (const name of readdirSync(archive)) if (name.startsWith('000001-')) rmSync(join(archive, name));
  const anchor = {
    schema_version: 1,
    sequence: 1,
    previous_sha256: hashOf(textOfManifest(first as Manifest)),
    created: '2026-11-30T00:00:00.000Z',
  };
  writeFileSync(join(archive, 'anchor.json'), seal<Anchor>(anchor, null).text);
  run('archive', 'adopt');
  expect(told('anchor_adopt')).toMatchObject([{ details: { how: 'command', removed_up_to: 1, by } }]);
});

it('records which keys a reload has changed, with old and new values, without secrets', async () => {
  await rig.start();
  rig.configure(`retention: { enabled: true, keep: { default: 30d } }
redact: { keys: [hunter2] }`);
  await controlRequest(rig.control, 'POST', '/reload');
  rig.configure();
  await controlRequest(rig.control, 'POST', '/reload');
  await controlRequest(rig.control, 'POST', '/reload');
  expect(told('reload').map(({ details }) => details.changes)).toMatchObject([
    {
      'retention.enabled': { from: false, to: true },
      'retention.keep.default': { from: '1y', to: '30d' },
    },
    {
      'retention.enabled': { from: true, to: false },
      'retention.keep.default': { from: '30d', to: '1y' },
    },
    {},
  ]);
});

it('masks keys with the name of a secret in the record of a reload', () => {
  // No present key is a secret; this is for future ones.
  const [before, after] = ['one', 'two'].map((password) => ({ ...schema.parse({}), later: { password } }));
  if (before === undefined || after === undefined) throw new Error('no configuration');
  expect(changedValues(before, after)).toEqual({ 'later.password': { from: '***', to: '***' } });
});

it('rejects reports that no command sends', async () => {
  await rig.start();
  for (const body of [{ action: 'daemon.purge', details: {} }, { action: 'daemon.export' }, null])
    await expect(controlRequest(rig.control, 'POST', '/told', body)).rejects.toThrow(/Nothing was recorded/);
});
