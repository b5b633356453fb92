import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { run } from '../commands/cli.js';
import { DaemonRig, type Line } from './daemon-fixture.js';

const YEAR_AND_MORE = 400 * 86_400_000;

function newRig(): DaemonRig {
  const rig = new DaemonRig();
  onTestFinished(() => rig.close());
  return rig;
}

const retention = (rig: DaemonRig) =>
  `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${rig.place}/archive } }`;
const cli = (rig: DaemonRig, ...args: string[]) => run([...args, '--config', rig.configPath]);

function mustRun(rig: DaemonRig, ...args: string[]): string {
  const { code, out, err } = cli(rig, ...args);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out;
}

/** Writes rows without a pause until it is stopped. */
function writer(rig: DaemonRig): () => void {
  const timer = setInterval(() => rig.append(3), 2);
  return () => clearInterval(timer);
}

/** Rows of Postern that stay in the table, as `id details`. */
const rowsOf = (rig: DaemonRig): string[] =>
  (
    rig.db.prepare('SELECT id, details FROM audit_log ORDER BY id').all() as Array<Record<string, unknown>>
  ).map(({ id, details }) => `${id} ${details}`);
const postern = (lines: readonly Line[]) => lines.filter(({ source }) => source === 'postern');
const texts = (lines: readonly Line[]) =>
  postern(lines).map(({ sequence, details }) => `${sequence} ${JSON.stringify(details)}`);
const ids = (lines: readonly Line[]) => lines.map(({ id }) => id);

/** Each row of the table has one line, and no event has two. */
function expectEachOnce(rig: DaemonRig, lines: readonly Line[]): void {
  expect(new Set(ids(lines)).size).toBe(lines.length);
  const written = new Set(texts(lines));
  expect(rowsOf(rig).filter((row) => !written.has(row))).toEqual([]);
}

const ban = (address: string, failures: number) =>
  `{"time":"2026-11-22T20:21:00.000Z","event":"ban","ip":"${address}","failures":${failures},"jail":"posternproxy","bantime":3600}\n`;

function bansOf(rig: DaemonRig): string[] {
  const db = new Database(join(rig.place, 'state', 'state.db'), { readonly: true });
  try {
    return db
      .prepare("SELECT resource_id FROM audit_log WHERE action = 'ban' AND resource_type = 'ban' ORDER BY id")
      .pluck()
      .all() as string[];
  } finally {
    db.close();
  }
}

it('a backup that was made under load is restored on the same host: each row has one line, and no failure is counted twice', async () => {
  const rig = newRig();
  await rig.start();
  rig.append(3_000);
  const stop = writer(rig);
  const backup = join(rig.directory, 'backup');
  mustRun(rig, 'backup', 'create', backup);
  rig.append(2_000);
  stop();
  await rig.shipped();
  const source = (await rig.status())?.source_id;
  await rig.kill();
  rig.collectAuth();
  rig.append(10);
  expect(mustRun(rig, 'backup', 'restore', '--replace', backup)).toContain('The state that was there is now');
  await rig.start();
  rig.append(100);
  const status = await rig.shipped();
  expect(status.source_id).toBe(source);
  await rig.kill('SIGTERM');
  expectEachOnce(rig, rig.auditLines());
  const counted = rig.authLines();
  expect(new Set(ids(counted)).size).toBe(counted.length);
  const own = rig.auditLines().filter(({ source }) => source === 'auditd');
  expect(own.map(({ action }) => action)).toContain('daemon.state_restore');
  // The daemon's ids were given out again after the backup: the timeline tells them apart.
  const names = own.map(({ timeline, sequence }) => `${timeline}:${sequence}`);
  expect(new Set(names).size).toBe(names.length);
});

it.each(['restored beside the newer state', 'restored after its loss', 'copied into its place by hand'])(
  'a database that was replaced after the backup ships no row twice and none less: the state is %s',
  async (kind) => {
    const rig = newRig();
    await rig.start();
    rig.append(300);
    await rig.shipped();
    const database = rig.backup();
    const backup = join(rig.directory, 'backup');
    mustRun(rig, 'backup', 'create', backup);
    rig.append(200);
    await rig.shipped();
    rig.restore(database);
    rig.append(50); // in another timeline, of which the backup does not know
    await rig.shipped();
    await rig.kill('SIGTERM');
    rig.append(10);
    const state = join(rig.place, 'state');
    if (!kind.includes('beside')) rmSync(state, { recursive: true });
    if (kind.includes('by hand')) {
      mkdirSync(state);
      copyFileSync(join(backup, 'state.db'), join(state, 'state.db'));
    } else mustRun(rig, 'backup', 'restore', '--replace', backup);
    await rig.start();
    rig.append(100);
    await rig.shipped();
    await rig.kill('SIGTERM');
    expectEachOnce(rig, rig.auditLines());
  },
);

it('a daemon moves to another host with its archives: nothing lost, nothing twice, the same event ids, no old failure for fail2ban', async () => {
  const old = newRig();
  old.configure(retention(old));
  const insert = old.db.prepare('INSERT INTO audit_log (created_at, action, details) VALUES (?, ?, ?)');
  old.db.transaction(() => {
    for (let n = 0; n < 20; n++)
      insert.run(new Date(Date.now() - YEAR_AND_MORE).toISOString(), 'update', `{"n":${n}}`);
  })();
  const failedBefore = Date.now() - 120_000;
  for (let n = 0; n < 10; n++)
    old.record({ action: 'auth.login_failure', address: '203.0.113.9', time: failedBefore, details: { n } });
  await old.start();
  old.append(300);
  await old.shipped();
  await old.durable(330);
  mkdirSync(join(old.place, 'bans'), { recursive: true });
  writeFileSync(join(old.place, 'bans', 'bans.log'), ban('203.0.113.7', 1));
  await old.until(({ bans }) => bans?.recorded_total === 1, 'the ban is recorded');
  expect(mustRun(old, 'retain', '--now')).toMatch(/^20 rows removed/);
  await old.kill('SIGTERM');
  const before = old.auditLines();

  const backup = join(old.directory, 'backup');
  mustRun(old, 'backup', 'create', backup);
  expect(run(['backup', 'verify', backup]).out.trimEnd()).toMatch(/: nothing is wrong$/);
  old.append(7); // Postern is stopped later than the daemon
  const database = old.backup();

  const host = newRig();
  host.configure(retention(host));
  host.restore(database);
  mkdirSync(join(host.place, 'bans'), { recursive: true });
  copyFileSync(join(old.place, 'bans', 'bans.log'), join(host.place, 'bans', 'bans.log'));
  appendFileSync(join(host.place, 'bans', 'bans.log'), ban('203.0.113.8', 2));
  mustRun(host, 'backup', 'restore', backup);
  const moved = Date.now();
  await host.start();
  host.append(50);
  await host.shipped();
  await host.until(({ bans }) => bans?.recorded_total === 1, 'the new ban is recorded');
  expect((await host.status())?.source_id).toBe(
    JSON.parse(readFileSync(join(backup, 'backup.json'), 'utf8')).source_id,
  );
  expect(bansOf(host)).toEqual(['203.0.113.7', '203.0.113.8']);
  expect(mustRun(host, 'archive', 'verify')).toContain('nothing is wrong');
  const both = [...before, ...host.auditLines()];
  expectEachOnce(host, both);
  expect(postern(host.auditLines()).length).toBe(57);

  // Retention continues the chain, and a new sink gets all rows under their first ids.
  await host.durable(387);
  const aged = host.db.prepare('INSERT INTO audit_log (created_at, action) VALUES (?, ?)');
  aged.run(new Date(Date.now() - YEAR_AND_MORE).toISOString(), 'update');
  host.append(1);
  await host.shipped();
  await host.durable(389);
  expect(mustRun(host, 'retain', '--now')).toMatch(/^1 row removed/);
  expect(mustRun(host, 'archive', 'verify')).toContain('nothing is wrong');
  await host.kill('SIGTERM');
  const all = join(host.place, 'all');
  const text = readFileSync(host.configPath, 'utf8');
  writeFileSync(
    host.configPath,
    text.replace('sinks:\n', `sinks:\n  all: { type: file, directory: ${all} }\n`),
  );
  await host.start();
  await host.shipped();
  const known = new Map([...both, ...host.auditLines()].map((line) => [texts([line])[0], line.id]));
  const shipped = readdirSync(all)
    .filter((name) => name.startsWith('audit.'))
    .flatMap((name) => readFileSync(join(all, name), 'utf8').trimEnd().split('\n'))
    .map(
      (line) =>
        JSON.parse(line) as {
          event: { sequence: number; id: string };
          postern: { source: string; details?: unknown };
        },
    )
    .filter(({ postern }) => postern.source === 'postern');
  expect(shipped.length).toBeGreaterThan(350);
  for (const { event, postern } of shipped)
    expect(known.get(`${event.sequence} ${JSON.stringify(postern.details)}`)).toBe(event.id);

  // fail2ban of the new host gets what has just happened, each once, and nothing of the backlog.
  const counted = host.authLines();
  expect(counted.length).toBeGreaterThan(0);
  expect(new Set(ids(counted)).size).toBe(counted.length);
  for (const { time } of counted) expect(Date.parse(time)).toBeGreaterThan(moved - 60_000);
}, 120_000);

it('the log files may move with it: they are continued, and no line is written twice', async () => {
  const old = newRig();
  await old.start();
  old.append(200);
  await old.shipped();
  const backup = join(old.directory, 'backup');
  mustRun(old, 'backup', 'create', '--json', backup);
  old.append(100); // in the log files, not in the backup
  await old.shipped();
  await old.kill('SIGTERM');
  const host = newRig();
  host.restore(old.backup());
  for (const name of ['audit', 'auth'])
    cpSync(join(old.place, name), join(host.place, name), { recursive: true });
  mustRun(host, 'backup', 'restore', backup);
  await host.start();
  host.append(20);
  await host.shipped();
  await host.kill('SIGTERM');
  expectEachOnce(host, host.auditLines());
  expect(readdirSync(join(host.place, 'audit')).filter((name) => name.startsWith('audit.'))).toHaveLength(1);
});

it('nothing is restored over a running daemon, over a state without --replace, from a damaged backup, or by an older version', async () => {
  const rig = newRig();
  expect(cli(rig, 'backup', 'create', join(rig.directory, 'early'))).toMatchObject({ code: 3 });
  await rig.start();
  rig.append(10);
  await rig.shipped();
  const backup = join(rig.directory, 'backup');
  mustRun(rig, 'backup', 'create', backup);
  expect(cli(rig, 'backup', 'create', backup)).toMatchObject({
    code: 2,
    err: expect.stringContaining('is not empty'),
  });
  const restore = (...args: string[]) => cli(rig, 'backup', 'restore', ...args, backup);
  expect(restore('--replace').err).toContain('Stop it first');
  await rig.kill('SIGTERM');
  expect(restore()).toMatchObject({ code: 1, err: expect.stringContaining('--replace') });
  const path = join(backup, 'state.db');
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.subarray(1));
  expect(restore('--replace')).toMatchObject({ code: 1, err: expect.stringContaining('Use another backup') });
  writeFileSync(path, bytes);
  const manifest = join(backup, 'backup.json');
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replace(/"state_version": \d+/, '"state_version": 999'));
  expect(restore('--replace').err).toMatch(/does not know\. Install postern-auditd/);
  writeFileSync(manifest, text.replace('"name": "state.db"', '"name": "../state.db"'));
  expect(restore('--replace').err).toContain('is not of a backup');
  rmSync(manifest);
  expect(restore('--replace').err).toContain('is not a complete backup');
  // The state is the one that was there.
  await rig.start();
  rig.append(5);
  await rig.shipped();
  expectEachOnce(rig, rig.auditLines());
});

it.runIf(process.geteuid?.() === 0)(
  'root backs up and restores the state of another user, who owns what is restored',
  async () => {
    const rig = newRig();
    rig.configure(retention(rig));
    await rig.start();
    rig.append(10);
    await rig.shipped();
    await rig.kill('SIGTERM');
    const [uid, gid] = [54_321, 54_322];
    chmodSync(rig.directory, 0o711);
    const state = join(rig.place, 'state');
    const give = () => {
      for (const name of ['', ...readdirSync(state)]) chownSync(join(state, name), uid, gid);
    };
    give();
    const backup = join(rig.directory, 'backup');
    mustRun(rig, 'backup', 'create', backup);
    expect(statSync(backup).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(backup))
      if (name !== 'archive')
        expect([name, statSync(join(backup, name)).uid, statSync(join(backup, name)).mode & 0o777]).toEqual([
          name,
          0,
          0o600,
        ]);
    const stranger = join(state, 'state.db-wal');
    expect(existsSync(stranger)).toBe(false);
    mustRun(rig, 'backup', 'restore', '--replace', backup);
    for (const name of readdirSync(state)) {
      const found = statSync(join(state, name));
      expect([name, found.uid, found.gid]).toEqual([name, uid, gid]);
    }
    expect(statSync(join(state, 'state.db')).mode & 0o777).toBe(0o640);
    rmSync(state, { recursive: true });
  },
);
