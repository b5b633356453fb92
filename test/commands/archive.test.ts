import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { listArchives } from '../../src/retention/archive/list.js';
import { type Anchor, seal } from '../../src/retention/archive/manifest.js';
import { archiveRecordOf, recordedHeads } from '../../src/retention/archive/recorded-heads.js';
import { ENDING } from '../retention/archive/compression.js';
import { ArchiveRig } from '../retention/archive/table.js';
import { CLI, run } from './cli.js';

let rig: ArchiveRig;
let config: string[];
beforeAll(async () => {
  rig = new ArchiveRig();
  rig.insert('2026-09-01 00:00:00', '{"row":1}');
  rig.insert('2026-10-01 00:00:00', '{"a":",\\"row\\":"}');
  await rig.archive({}, true);
  const path = join(rig.directory, 'config.yml');
  writeFileSync(
    path,
    `state: ${rig.directory}/state\nretention: { archive: { directory: ${rig.archives} } }\n`,
  );
  config = ['--config', path];
});
afterAll(() => rig.remove());

describe('archive', () => {
  it('list prints every archive', () => {
    const { code, out } = run(['archive', 'list', ...config]);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^NO +MONTH +SOURCE[\s\S]*\n1 +2026-09 +postern +1 +1-1 +2026-09-01T[\d:]+Z [\s\S]*2 archives, 2 rows/,
    );
    expect(JSON.parse(run(['archive', 'list', '--json', ...config]).out)).toHaveLength(2);
  });

  it('cat prints rows unchanged', () => {
    const { out } = run(['archive', 'cat', '2', ...config]);
    expect(JSON.parse(out)).toMatchObject({
      id: 2,
      created_at: '2026-10-01 00:00:00',
      details: '{"a":",\\"row\\":"}',
    });
    expect(run(['archive', 'cat', '3', ...config])).toMatchObject({
      code: 1,
      err: expect.stringContaining('no archive 3'),
    });
  });

  it('cat prints nothing on standard error, however slow the reader is', async () => {
    const large = new ArchiveRig();
    for (let row = 0; row < 45; row++) large.insert('2026-09-01 00:00:00', `{"x":"${'x'.repeat(100_000)}"}`);
    await large.archive({}, true);
    const line = `"$0" "$@" | (sleep 1; wc -l)`;
    const args = ['-c', line, process.execPath, CLI, 'archive', 'cat', '--directory', large.archives];
    const { stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
    large.remove();
    expect({ stdout, stderr }).toEqual({ stdout: '45\n', stderr: '' });
  });

  it('restore creates a database with the rows', () => {
    const into = join(rig.directory, 'old.db');
    expect(run(['archive', 'restore', '--into', into, ...config]).out).toBe(`2 rows restored into ${into}\n`);
    const db = new Database(into, { readonly: true });
    expect(db.prepare('SELECT count(*) FROM audit_log').pluck().get()).toBe(2);
    db.close();
    expect(run(['archive', 'restore', '--into', into, ...config]).out).toContain('0 rows restored');
  });

  it.each([
    [['--table', ''], 2, '--table: the name is empty'],
    [['--timeline', '7'], 1, 'no archive of source postern, history 7, in'],
    [['--source', 'auditd'], 1, 'no archive of source auditd in'],
  ])('restore %j creates nothing, and gives the reason', (options, code, err) => {
    const into = join(rig.directory, 'none.db');
    expect(run(['archive', 'restore', '--into', into, ...options, ...config])).toMatchObject({
      code,
      err: expect.stringContaining(err) as string,
    });
    expect(existsSync(into)).toBe(false);
  });

  it('verify exits with 1 and names the broken archive', () => {
    const whole = run(['archive', 'verify', ...config]);
    expect(whole.out).toMatch(
      /^note: .*state\.db does not exist.*The ends recorded by the daemon were not compared\n/,
    );
    const [, head = ''] = /^head (.+)$/m.exec(whole.out) ?? [];
    expect(whole).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^2 archives, 2 rows: nothing is wrong\nhead 2:/m) as string,
    });
    expect(run(['archive', 'verify', '--head', head, ...config]).code).toBe(0);
    expect(run(['archive', 'verify', '--head', head.replace('2:', '3:'), ...config]).code).toBe(1);
    const name = readdirSync(rig.archives).find((one) => one.endsWith(ENDING)) ?? '';
    const bytes = readFileSync(join(rig.archives, name));
    bytes[12] = (bytes[12] ?? 0) ^ 1;
    writeFileSync(join(rig.archives, name), bytes);
    expect(run(['archive', 'verify', ...config])).toMatchObject({
      code: 1,
      out: expect.stringContaining(`BROKEN: ${name}: its bytes were changed`),
    });
  });

  it('verify of a missing directory is an error that names it', () => {
    for (const command of ['verify', 'list', 'cat'])
      expect(run(['archive', command, '--directory', join(rig.directory, 'typo')])).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringContaining('typo does not exist') as string,
      });
  });

  it('rejects a history that is not a number', () => {
    for (const timeline of ['abc', '0', '1.5', ''])
      expect(run(['archive', 'cat', '--timeline', timeline, ...config])).toMatchObject({ code: 2, out: '' });
    expect(run(['archive', 'cat', '--timeline', '1', '2', ...config]).code).toBe(0);
  });

  it('verify names a damaged or forged anchor, which hides no archive', () => {
    const anchor = join(rig.archives, 'anchor.json');
    const forged = {
      schema_version: 1,
      sequence: 1_000,
      previous_sha256: '0'.repeat(64),
      created: '2026-11-01',
    };
    for (const [text, why] of [
      ['{}', 'its text was changed'],
      [seal<Anchor>(forged, null).text, 'it says that archives up to 1000 were removed, and 000001-'],
    ] as const) {
      writeFileSync(anchor, text);
      expect(run(['archive', 'verify', ...config])).toMatchObject({
        code: 1,
        out: expect.stringContaining(`BROKEN: anchor.json: ${why}`) as string,
      });
      expect(run(['archive', 'list', ...config]).out).toContain('2 archives');
    }
    rmSync(anchor);
  });

  it('the event of a run names its archives in the form that verify reads', () => {
    const [, second] = listArchives(rig.archives);
    if (second === undefined) throw new Error('no archive');
    const [head] = recordedHeads(['{}', 'x', JSON.stringify({ archives: [archiveRecordOf(second)] })]);
    expect(head).toEqual({
      sequence: 2,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(run(['archive', 'verify', '--head', `2:${head?.sha256}`, ...config]).out).toContain('000001');
  });
});
