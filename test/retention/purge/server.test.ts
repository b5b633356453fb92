import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TableRows } from '../../../src/retention/archive/table.js';
import { fileAt } from '../../../src/retention/file.js';
import { openPurger } from '../../../src/retention/purge/client.js';
import type { Named } from '../../../src/retention/purge/protocol.js';
import { rowHash } from '../../../src/retention/purge/row-hash.js';
import { servePurge } from '../../../src/retention/purge/server.js';
import Database from '../../../src/sqlite.js';
import { DAY, RetentionRig, sqlTime } from '../rig.js';

let rig: RetentionRig;
beforeEach(() => {
  rig = new RetentionRig();
  const now = Date.now();
  rig.insert([
    { created: sqlTime(now - 500 * DAY) },
    { created: sqlTime(now - 300 * DAY) },
    { created: sqlTime(now - 500 * DAY), action: 'create', type: 'user' },
    { created: 'yesterday' },
    { created: sqlTime(now + 500 * DAY) },
    { created: sqlTime(now - 400 * DAY) },
    { created: sqlTime(now) },
  ]);
});
afterEach(() => rig.close());

/** What is answered to these lines, in a session of its own. */
async function ask(
  lines: readonly string[],
  retention = 'enabled: true, keep: { default: 1y, user: forever }',
): Promise<unknown[]> {
  const configPath = join(rig.directory, 'c.yml');
  writeFileSync(configPath, `source: { database: ${rig.database} }\nretention: { ${retention} }\n`);
  const [input, output] = [new PassThrough(), new PassThrough()];
  input.end(lines.map((line) => `${line}\n`).join(''));
  await servePurge(input, output, { configPath, env: {} });
  output.end();
  const text = (await output.toArray()).join('');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as unknown);
}

function named(...ids: number[]): string {
  const { source } = rig.config('max_rows: null');
  const db = new Database(rig.database, { readonly: true });
  const rows = new TableRows(db, source, { identify: () => ({ id: '', length: 0 }) }).byIds(ids);
  db.close();
  return JSON.stringify({ rows: rows.map((row) => [row.id, rowHash(row)]) });
}

describe('the purge', () => {
  it('deletes what is old by its own reading of the configuration, and nothing else, whoever asks', async () => {
    const answers = await ask([named(1, 2, 3, 4, 5, 6, 7), '{"end":true}']);
    expect(rig.ids()).toEqual([2, 3, 4, 5, 7]);
    expect(answers).toMatchObject([
      { purged: { deleted: 2, young: 5, differ: 0, gone: 0 } },
      { space: { auto_vacuum: 'none' } },
    ]);
  });

  it('above max_rows takes the oldest before their age, and no more than that', async () => {
    await ask([named(2, 6, 7)], 'enabled: true, keep: { default: forever }, max_rows: 6');
    expect(rig.ids()).toEqual([1, 3, 4, 5, 6, 7]);
  });

  it('deletes no row that is another by a single byte of a single column', async () => {
    const request = named(1, 6);
    rig.db.exec("UPDATE audit_log SET server = 'x' WHERE id = 1");
    expect(await ask([request])).toMatchObject([{ purged: { deleted: 1, differ: 1 } }]);
    expect(rig.ids()).toEqual([1, 2, 3, 4, 5, 7]);
    expect(await ask([request])).toMatchObject([{ purged: { deleted: 0, differ: 1, gone: 1 } }]);
  });

  it('is told by each request of a run which database is meant', async () => {
    const configPath = join(rig.directory, 'c.yml');
    writeFileSync(configPath, `source: { database: ${rig.database} }\nretention: { enabled: true }\n`);
    const child = pathToFileURL(resolve(import.meta.dirname, '../../../dist/retention/purge/child.js'));
    const { rows } = JSON.parse(named(1)) as { rows: Named[] };
    for (const [file, deleted] of [
      ['1:2:3', null],
      [fileAt(rig.database), 1],
    ] as const) {
      const purger = await openPurger({ configPath, env: {}, file, child });
      const purged = purger.purge(rows);
      if (deleted === null) await expect(purged).rejects.toThrow(/has been replaced/);
      else expect(await purged).toMatchObject({ deleted });
      purger.close();
    }
  });

  it('deletes nothing from a database that is not the one that is named', async () => {
    const { rows } = JSON.parse(named(1, 6)) as { rows: unknown };
    expect(await ask([JSON.stringify({ rows, file: '1:2:3' })])).toMatchObject([
      { error: expect.stringMatching(/has been replaced/) as string },
    ]);
    expect(rig.ids()).toHaveLength(7);
    expect(await ask([JSON.stringify({ rows, file: fileAt(rig.database) })])).toMatchObject([
      { purged: { deleted: 2 } },
    ]);
  });

  it.each<[string, string]>([
    ['SQL', '{"sql":"DELETE FROM audit_log"}'],
    ['no JSON', 'DELETE FROM audit_log'],
    ['ids without hashes', '{"rows":[1,6]}'],
    ['an id that is text', `{"rows":[["1 OR 1",${JSON.stringify('0'.repeat(32))}]]}`],
    ['a hash that is none', '{"rows":[[1,"%"]]}'],
    ['another database', '{"database":"/etc/passwd","end":false}'],
    ['too many rows', JSON.stringify({ rows: Array.from({ length: 5_001 }, () => [1, '0'.repeat(32)]) })],
    ['a line without end', `{"rows":[${' '.repeat(2 * 1024 * 1024)}`],
  ])('ends the session at %s', async (_, line) => {
    const answers = await ask([line, named(1)]);
    expect(answers).toHaveLength(1);
    expect(answers[0]).toHaveProperty('error');
    expect(rig.ids()).toHaveLength(7);
  });

  it('refuses where retention is off, and says so', async () => {
    expect(await ask([named(1)], 'enabled: false')).toMatchObject([
      { error: expect.stringContaining('retention is off in') as string },
    ]);
    expect(rig.ids()).toHaveLength(7);
  });

  it('says what keeps it from writing', async () => {
    rig.db.exec('BEGIN IMMEDIATE');
    const answers = await ask([named(1)]);
    rig.db.exec('ROLLBACK');
    expect(answers).toMatchObject([{ error: expect.stringContaining('database is locked') as string }]);
  });
});
