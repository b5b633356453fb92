import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import Database from '../../src/load-sqlite.js';
import { listArchives } from '../../src/retention/archive/list.js';
import { verifyArchives } from '../../src/retention/archive/verify.js';
import type { RetentionStatus } from '../../src/retention/scheduler.js';
import { type Count, countRows } from '../retention/count.js';
import { DaemonRig } from './daemon-fixture.js';

/** Of these, rows that were deleted after delivery. */
const STOLEN = 3;
const DAY = 86_400_000;

/** It may have ended by itself, as a child process does without its daemon. */
function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The daemon with retention, and every row that was ever written. */
class Old {
  readonly rig: DaemonRig;
  readonly written = new Map<number, string>();

  constructor(
    readonly archive: string,
    readonly rows: number,
  ) {
    const retention = `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${archive} } }`;
    this.rig = new DaemonRig({ extra: retention });
  }

  /** Rows of several months, and a fresh one. */
  write(): void {
    const count = this.rows;
    const statement = this.rig.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (?, 'update', 'stream', ?)",
    );
    this.rig.db.transaction(() => {
      for (let n = 0; n <= count; n++) {
        const age = n === count ? 0 : 370 + ((n * 7) % 90);
        const details = JSON.stringify({ n, random: Math.random() });
        const { lastInsertRowid } = statement.run(new Date(Date.now() - age * DAY).toISOString(), details);
        this.written.set(Number(lastInsertRowid), details);
      }
    })();
  }

  /** Deletes some of the rows that were written last. */
  steal(): void {
    const ids = [...this.written.keys()].slice(-this.rows / 2).slice(0, STOLEN);
    for (const id of ids) {
      this.rig.db.prepare('DELETE FROM audit_log WHERE id = ?').run(id);
      this.written.delete(id);
    }
  }

  /** Numbers of the archives that events report. */
  made(): number[] {
    const db = new Database(join(this.rig.directory, 'state', 'state.db'), { readonly: true });
    const told = db
      .prepare(
        "SELECT details ->> '$.archives[0].sequence' FROM audit_log WHERE action LIKE '%archive_create' ORDER BY id",
      )
      .pluck()
      .all() as number[];
    db.close();
    return told;
  }

  /** Rows that were missing when an archive was written, by events and manifests. */
  missing(): { events: number; manifests: number } {
    const db = new Database(join(this.rig.directory, 'state', 'state.db'), { readonly: true });
    const events = db
      .prepare("SELECT sum(details ->> 'missing') FROM audit_log WHERE action LIKE '%rows_changed'")
      .pluck()
      .get() as number;
    db.close();
    const counts = listArchives(this.archive).map(({ since_delivery: since }) => since?.missing ?? 0);
    return { events, manifests: counts.reduce((sum, count) => sum + count, 0) };
  }

  async begin(): Promise<void> {
    await controlRequest(this.rig.control, 'POST', '/retention/now');
  }

  async end(): Promise<RetentionStatus['run']> {
    for (;;) {
      const { run } = (await controlRequest(this.rig.control, 'GET', '/retention')) as RetentionStatus;
      if (run?.state !== 'running') return run;
      await sleep(20);
    }
  }

  /** The events of deletions, one for each archive. */
  purges(): Array<{ archive: { sha256: string }; deleted: number; removed_by_others: number }> {
    const db = new Database(join(this.rig.directory, 'state', 'state.db'), { readonly: true });
    const told = db
      .prepare(
        "SELECT details FROM audit_log WHERE resource_type = 'daemon' AND action IN ('purge', 'daemon.purge')",
      )
      .pluck()
      .all() as string[];
    db.close();
    return told.map((details) => JSON.parse(details) as ReturnType<Old['purges']>[number]);
  }

  count(): Count {
    return countRows(this.rig.database, this.archive, this.written);
  }
}

/** Every other time the purge is killed too, which would otherwise finish its request. */
function childrenOf(pid: number): number[] {
  try {
    return execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map(Number);
  } catch {
    return [];
  }
}

/**
 * A random moment: of the whole run, of the writing of an archive, or of the time after it. Runs take longer on a busy machine,
 * and one that depended on the clock alone would kill them all in their first phase.
 */
async function moment(kill: number, archive: string): Promise<void> {
  if (kill % 3 === 0) return void (await sleep(Math.random() * 900));
  const ending = kill % 3 === 1 ? '.tmp' : '.manifest.json';
  const names = () =>
    existsSync(archive) ? readdirSync(archive).filter((name) => name.endsWith(ending)) : [];
  const before = new Set(names());
  const late = Date.now() + 20_000;
  while (names().every((name) => before.has(name)) && Date.now() < late) await sleep(1);
  await sleep(Math.random() ** 2 * 150);
}

/**
 * Kills the daemon at so many random moments of a run, while delivered rows are deleted: each row is in the table or in one
 * archive, the next run finishes, and the sums of the events match the missing rows.
 */
export async function killRuns(kills: number, rows: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-kills-'));
  const old = new Old(join(directory, 'archive'), rows);
  const { rig } = old;
  let between = 0;
  try {
    for (let kill = 0; kill < kills; kill++) {
      old.write();
      await rig.start();
      await rig.shipped();
      old.steal();
      await old.begin();
      await moment(kill, old.archive);
      const children = kill % 2 === 0 ? childrenOf(rig.child?.pid ?? 0) : [];
      await rig.kill('SIGKILL');
      for (const pid of children) killed(pid);
      await sleep(30);
      const count = old.count();
      if (count.both > 0) between++;
      expect(count, `after kill ${kill + 1}`).toMatchObject({ missing: [], twice: [], changed: [] });
    }
    await rig.start();
    await rig.shipped();
    await old.begin();
    expect((await old.end())?.error).toBeNull();
    const count = old.count();
    expect(count).toEqual({
      inTable: kills,
      archived: kills * (rows - STOLEN),
      both: 0,
      missing: [],
      twice: [],
      changed: [],
    });
    const purges = old.purges();
    const totalOf = (key: 'deleted' | 'removed_by_others') =>
      purges.reduce((sum, details) => sum + (details[key] ?? 0), 0);
    expect(totalOf('deleted')).toBe(kills * (rows - STOLEN));
    expect(totalOf('removed_by_others')).toBe(0);
    expect(old.made()).toEqual(listArchives(old.archive).map(({ sequence }) => sequence));
    expect(old.missing()).toEqual({ events: kills * STOLEN, manifests: kills * STOLEN });
    expect(new Set(purges.map(({ archive }) => archive.sha256)).size).toBe(purges.length);
    console.log(
      `${kills} kills, ${purges.length} events, ${between} of them between archive and deletion`,
      count,
    );
    expect(verifyArchives(old.archive, { key: null, known: [] }).broken).toBeNull();
    expect(readdirSync(old.archive).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  } finally {
    await rig.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
