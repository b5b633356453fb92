import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import { TableRows } from '../../src/retention/archive/table-rows.js';
import { createArchive } from '../../src/retention/archive/write.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { COMPRESSION } from '../retention/archive/compression.js';
import { CONFIG, rowReader, SOURCE_ID } from '../retention/archive/table.js';

const TIME = '2026-10-01 00:00:00';

describe('archived entries over the API', () => {
  let rig: DaemonRig;
  const at = (name: string) => `retention: { archive: { directory: ${join(rig.directory, name)} } }`;
  beforeAll(async () => {
    rig = new DaemonRig();
    rig.configure(at('one'));
    const id = rig.record({ action: 'proxy_host.update' });
    rig.record({ action: 'proxy_host.create' });
    rig.db.prepare('UPDATE audit_log SET created_at = ? WHERE id = ?').run(TIME, id);
    const rows = () => new TableRows(rig.db, CONFIG, rowReader());
    const writer = createArchive({
      directory: join(rig.directory, 'one'),
      source: 'postern',
      sourceId: SOURCE_ID,
      timeline: 1,
      table: rows().shape,
      month: '2026-10',
      run: 'test',
      compression: COMPRESSION,
      sign: null,
      clock: Date.now,
    });
    for (const row of rows().byIds([id])) writer.add(row);
    await writer.finish((ids) => rows().byIds(ids));
    rig.db.prepare('DELETE FROM audit_log WHERE id = ?').run(id);
    await rig.start();
  });
  afterAll(() => rig.close());
  const get = (path: string) => controlRequest(rig.control, 'GET', path);
  const archived = async () =>
    ((await get('/api/audit-log?archives=true&source=postern&to=2026-10-02')) as { entries: unknown[] })
      .entries;

  it('archived entries are found by the link that the page shows', async () => {
    const [entry] = await archived();
    expect(entry).toMatchObject({ id: 'postern:1', action: 'proxy_host.update' });
    expect(await get('/api/audit-log/postern%3A1')).toEqual(entry);
    await expect(get('/api/audit-log/postern%3A3')).rejects.toThrow(/No entry has the id postern:3/);
  });

  it('archived entries are read from the new directory after a reload', async () => {
    rig.configure(at('two'));
    await controlRequest(rig.control, 'POST', '/reload');
    expect(await archived()).toEqual([]);
    rig.configure(at('one'));
    await controlRequest(rig.control, 'POST', '/reload');
    expect(await archived()).toHaveLength(1);
  });
});
