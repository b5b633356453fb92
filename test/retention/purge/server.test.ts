import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import Database from '../../../src/load-sqlite.js';
import { manifestName, stemOf } from '../../../src/retention/archive/archive-files.js';
import { TableRows } from '../../../src/retention/archive/table-rows.js';
import { createArchive } from '../../../src/retention/archive/write.js';
import { fileAt } from '../../../src/retention/file-identity.js';
import { openPurger } from '../../../src/retention/purge/client.js';
import type { Piece } from '../../../src/retention/purge/protocol.js';
import { servePurge } from '../../../src/retention/purge/server.js';
import { DAY, NOW, RetentionRig, SOURCE_ID, sqlTime } from '../retention-fixture.js';

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

/** The answers to these lines in a separate session. */
async function ask(
  lines: readonly string[],
  retention = 'enabled: true, keep: { default: 1y, user: forever }',
): Promise<unknown[]> {
  const configPath = configOf(retention);
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

function configOf(retention: string): string {
  const configPath = join(rig.directory, 'c.yml');
  const archive = `archive: { directory: ${rig.archive} }`;
  writeFileSync(
    configPath,
    `source: { database: ${rig.database} }\nretention: { ${archive}, ${retention} }\n`,
  );
  return configPath;
}

/** An archive of the current rows, whatever their age, as a compromised daemon could make it. */
async function archived(...ids: number[]): Promise<Piece> {
  const { source } = rig.config('max_rows: null');
  const db = new Database(rig.database, { readonly: true });
  const table = new TableRows(db, source, { identify: () => ({ id: '', length: 0 }) });
  const rows = table.byIds(ids).map((row) => ({ ...row, time: null })); // in one archive, whatever their months
  const writer = createArchive({
    directory: rig.archive,
    source: 'postern',
    sourceId: SOURCE_ID,
    timeline: 1,
    table: table.shape,
    month: 'undated',
    run: 'test',
    compression: 'gzip',
    sign: null,
    clock: () => NOW,
  });
  for (const row of rows) writer.add(row);
  const { sequence, sha256 } = await writer.finish(() => rows);
  db.close();
  const archive = manifestName(stemOf(sequence, 'postern', 1, 'undated'));
  return { archive, sha256, block: 0, below: Number.MAX_SAFE_INTEGER };
}

async function request(...ids: number[]): Promise<string> {
  return JSON.stringify({ archived: await archived(...ids), holds: [] });
}

describe('the purge', () => {
  it('the purge deletes only rows that are old by its own reading of the configuration, for any client', async () => {
    const answers = await ask([await request(1, 2, 3, 4, 5, 6, 7), '{"end":true}']);
    expect(rig.ids()).toEqual([2, 3, 4, 5, 7]);
    expect(answers).toMatchObject([
      { purged: { deleted: 2, young: 5, differ: 0, gone: 0 } },
      { space: { auto_vacuum: 'none' } },
    ]);
  });

  it('the purge deletes the oldest rows above max_rows before their age, and no others', async () => {
    await ask([await request(2, 6, 7)], 'enabled: true, keep: { default: forever }, max_rows: 6');
    expect(rig.ids()).toEqual([1, 3, 4, 5, 6, 7]);
  });

  it('the purge keeps a row that differs in a single byte of a single column', async () => {
    const line = await request(1, 6);
    rig.db.exec("UPDATE audit_log SET server = 'x' WHERE id = 1");
    expect(await ask([line])).toMatchObject([{ purged: { deleted: 1, differ: 1 } }]);
    expect(rig.ids()).toEqual([1, 2, 3, 4, 5, 7]);
    expect(await ask([line])).toMatchObject([{ purged: { deleted: 0, differ: 1, gone: 1 } }]);
  });

  it('each request of a run names the database to the purge', async () => {
    const configPath = configOf('enabled: true');
    const child = pathToFileURL(resolve(import.meta.dirname, '../../../dist/retention/purge/process.js'));
    const piece = await archived(1);
    for (const [file, deleted] of [
      ['1:2:3', null],
      [fileAt(rig.database), 1],
    ] as const) {
      const purger = await openPurger({ configPath, env: {}, file, child });
      const purged = purger.purge(piece, []);
      if (deleted === null) await expect(purged).rejects.toThrow(/has been replaced/);
      else expect(await purged).toMatchObject({ deleted });
      purger.close();
    }
  });

  it('the purge deletes nothing from a database other than the named one', async () => {
    const piece = await archived(1, 6);
    expect(await ask([JSON.stringify({ archived: piece, holds: [], file: '1:2:3' })])).toMatchObject([
      { error: expect.stringMatching(/has been replaced/) as string },
    ]);
    expect(rig.ids()).toHaveLength(7);
    expect(
      await ask([JSON.stringify({ archived: piece, holds: [], file: fileAt(rig.database) })]),
    ).toMatchObject([{ purged: { deleted: 2 } }]);
  });

  it('the purge keeps and counts the rows that a request excludes', async () => {
    const piece = await archived(1, 6);
    expect(await ask([JSON.stringify({ holds: [], archived: { ...piece, below: 6 } })])).toMatchObject([
      { purged: { deleted: 1, held: 1 } },
    ]);
    expect(rig.ids()).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it('the purge keeps rows less than a day older than the newest row, whatever is configured', async () => {
    const [hours, newest] = [3_600_000, Date.now()];
    rig.insert([23, 25, 0].map((age) => ({ created: sqlTime(newest - age * hours) })));
    for (const retention of ['keep: { default: 1ms }', 'max_rows: 1', 'max_size: 1'])
      await ask([await request(7, 8, 9, 10)], `enabled: true, ${retention}`);
    expect(rig.ids().slice(-3)).toEqual([7, 8, 10]);
  });

  it.each<[string, string]>([
    ['SQL', '{"sql":"DELETE FROM audit_log"}'],
    ['invalid JSON', 'DELETE FROM audit_log'],
    ['rows without an archive', `{"holds":[],"rows":[[1,"${'0'.repeat(32)}"]]}`],
    [
      'a block that is not a number',
      `{"holds":[],"archived":{"archive":"a","sha256":"${'0'.repeat(64)}","block":"0","below":9}}`,
    ],
    ['an invalid hash', '{"holds":[],"archived":{"archive":"a","sha256":"%","block":0,"below":9}}'],
    ['another database', '{"database":"/etc/passwd","end":false}'],
    ['a line without end', `{"holds":[${' '.repeat(2 * 1024 * 1024)}`],
  ])('the purge ends a session at %s', async (_, line) => {
    const answers = await ask([line, await request(1)]);
    expect(answers).toHaveLength(1);
    expect(answers[0]).toHaveProperty('error');
    expect(rig.ids()).toHaveLength(7);
  });

  it('the purge rejects requests and says why if retention is off', async () => {
    expect(await ask([await request(1)], 'enabled: false')).toMatchObject([
      {
        code: 'PURGE_FAILED',
        error: expect.stringMatching(
          /^Retention is off in .*\. Set retention\.enabled to true there$/,
        ) as string,
        what: expect.stringMatching(/^Retention is off in [^.]*\.yml$/) as string,
        next: 'Set retention.enabled to true there',
      },
    ]);
    expect(rig.ids()).toHaveLength(7);
  });

  it("the purge reports why it can't write", async () => {
    const line = await request(1);
    rig.db.exec('BEGIN IMMEDIATE');
    const answers = await ask([line]);
    rig.db.exec('ROLLBACK');
    expect(answers).toMatchObject([{ error: expect.stringContaining('database is locked') as string }]);
  });
});
