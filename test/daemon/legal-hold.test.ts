import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { CLI } from '../support/daemon-process.js';
import { DaemonRig } from './daemon-fixture.js';

const DAY = 86_400_000;
let rig: DaemonRig;
let archive: string;

beforeEach(() => {
  rig = new DaemonRig();
  archive = join(rig.directory, 'archive');
  rig.configure(
    `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${archive} } }`,
  );
  for (const [name, age] of [
    ['ann', 500],
    ['bob', 500],
    ['ann', 0],
  ] as const)
    rig.record({ action: 'user.update', user: { name }, time: Date.now() - age * DAY });
});
afterEach(() => rig.close());

function command(...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [CLI, ...words, '--config', rig.configPath],
    { encoding: 'utf8' },
  );
  return { status, stdout, stderr };
}

const users = () => rig.db.prepare('SELECT user_name FROM audit_log ORDER BY id').pluck().all();

function events(): string[] {
  const db = new Database(join(rig.directory, 'state', 'state.db'), { readonly: true });
  try {
    return db
      .prepare("SELECT action FROM audit_log WHERE action LIKE '%legal_hold%' ORDER BY id")
      .pluck()
      .all() as string[];
  } finally {
    db.close();
  }
}

it('legal holds are created and released by commands, with or without the daemon, and shown by status, check and verify', async () => {
  expect(command('retain', 'hold', '--user', 'ann', '--reason', 'x')).toMatchObject({
    status: 3,
    stderr: expect.stringContaining('The daemon has never run') as string,
  });
  expect(existsSync(archive)).toBe(false);
  await rig.start();
  expect(command('retain', 'hold', '--reason', 'x')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('Confirm that with --all') as string,
  });
  expect(command('retain', 'hold', '--user', 'ann', '--reason', 'case 4711')).toEqual({
    status: 0,
    stdout: 'legal hold 1: user ann (900000000001-hold-t0-undated.manifest.json)\n',
    stderr: '',
  });
  await rig.kill('SIGTERM');
  expect(command('retain', 'hold', '--user', 'bob', '--from', '2020-01-01', '--reason', 'y').stdout).toBe(
    'legal hold 2: user bob, from 2020-01-01T00:00:00Z (900000000002-hold-t0-undated.manifest.json)\n',
  );
  const { in_force: held } = JSON.parse(command('retain', 'holds', '--json').stdout) as {
    in_force: unknown[];
  };
  expect(held).toMatchObject([
    { id: 1, filter: { user: 'ann' }, reason: 'case 4711' },
    { id: 2, filter: { user: 'bob', from: '2020-01-01T00:00:00.000Z' } },
  ]);
  await rig.start();
  expect(command('retain', 'release', '2', '--reason', 'closed').stdout).toMatch(
    /^legal hold 2 is released: user bob/,
  );
  expect(command('retain', '--now').stdout).toContain('1 row removed');
  expect(users()).toEqual(['ann', 'ann']);
  expect(command('status').stdout).toMatch(/legal hold 1, since \d{4}-\d\d-\d\dT[\d:]+Z: user ann/);
  expect(command('check').stdout).toMatch(/legal holds? in force: 1/);
  expect(command('archive', 'verify')).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('legal holds: 2 made, 1 released') as string,
  });
  const [newest = ''] = readdirSync(archive).filter((name) => name.startsWith('900000000003'));
  rmSync(join(archive, newest));
  for (const [words, output] of [
    [['archive', 'verify'], /BROKEN: 900000000003-hold.*recorded in state\.db, and missing/],
    [['retain', 'holds'], /wrong: .*900000000003-hold.*retain holds --put-back/s],
    [['check'], /900000000003-hold.*missing/],
  ] as const)
    expect(command(...words)).toMatchObject({ status: 1, stdout: expect.stringMatching(output) as string });
  expect(command('retain', '--now')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/900000000003/) as string,
  });
  expect(command('retain', 'holds', '--put-back').stdout).toBe(`put back: ${newest}\n`);
  expect(command('retain', 'holds').stdout).toMatch(
    /^ID +SINCE +BY +HOLDS +REASON\n1 .*user ann +case 4711\n$/,
  );
  expect(events()).toEqual(['legal_hold_create', 'legal_hold_create', 'legal_hold_release']);
});
