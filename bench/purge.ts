import { fork } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Database from 'better-sqlite3';
import { createAuditTable } from 'postern-auditd/recorder';
import { MB, percentile, Rig } from './bench-fixture.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 200_000);
/** `BENCH_SYNCHRONOUS=FULL` runs only that mode. */
const MODES = (['FULL', 'NORMAL'] as const).filter(
  (mode) => (process.env.BENCH_SYNCHRONOUS ?? mode) === mode,
);
/** How long the writer runs alone, at first and repeatedly, as the speed of these machines varies. */
const ALONE_MS = 20_000;
const ROUND_MS = 60_000;
const PAUSE_MS = 6_000;
/** `BENCH_SECONDS` stops the purge after this time, in each mode. */
const MOST_MS = Number(process.env.BENCH_SECONDS ?? Number.POSITIVE_INFINITY) * 1_000;
const IN_ARCHIVE = 100_000;
/** src/ compiled file by file (npm run prebench), because dist/ is a bundle. */
const MODULES = resolve(import.meta.dirname, '../modules');

/** Durations of the writer's commits in milliseconds, and how many met a lock for 100 ms. */
interface Figures {
  readonly took: number[];
  busy: number;
}

/** The parts of src/ that this bench uses. */
interface Manifest {
  readonly sequence: number;
  readonly sha256: string;
  readonly blocks: readonly unknown[];
}
interface Modules {
  readonly openPurger: (options: object) => Promise<{
    purge(
      piece: object,
      holds: readonly object[],
    ): Promise<Record<'deleted' | 'lock_ms' | 'commits' | 'busy', number>>;
    end(): Promise<unknown>;
    close(): void;
  }>;
  readonly TableRows: new (
    db: Database.Database,
    config: object,
    reader: object,
  ) => { readonly shape: object; after(id: number, upTo: number, limit: number): object[] };
  readonly createArchive: (options: object) => {
    add(row: object): void;
    finish(again: () => object[]): Promise<Manifest>;
  };
  readonly parseConfig: (text: string, file: string) => { readonly source: object };
}

/**
 * A purge of BENCH_ROWS rows (2,000,000 for the guarantee) beside a writer of 200 commits/s that waits at most 100 ms for a lock. It measures
 * the commits with and without the purge in turn, and how long the purge held the lock.
 */
export async function purge(): Promise<void> {
  for (const synchronous of MODES) await purgeBeside(synchronous);
}

async function purgeBeside(synchronous: 'FULL' | 'NORMAL'): Promise<void> {
  const rig = new Rig();
  const modules: Modules = Object.assign(
    {},
    ...(await Promise.all(
      [
        'retention/purge/client.js',
        'retention/archive/table-rows.js',
        'retention/archive/write.js',
        'config/load.js',
      ].map((file) => import(join(MODULES, file))),
    )),
  );
  const configPath = join(rig.directory, 'config.yml');
  const text = `source: { database: ${rig.database} }\nretention: { enabled: true, keep: { default: 1y }, archive: { directory: ${rig.directory}/archive } }\n`;
  writeFileSync(configPath, text);
  const { db } = rig.open(synchronous);
  createAuditTable(db);
  fill(db);
  db.pragma('wal_checkpoint(TRUNCATE)');
  const archives = await archiveAll(
    db,
    modules,
    modules.parseConfig(text, configPath).source,
    `${rig.directory}/archive`,
  );
  // Not earlier: a waiting writer would keep SQLite from restarting the WAL of the filling.
  const writer = fork(join(import.meta.dirname, 'purge-writer.js'), [rig.database, synchronous], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const alone: Figures = { took: [], busy: 0 };
  const beside: Figures = { took: [], busy: 0 };
  /** Adds the figures since the last call. */
  const note = async (figures: Figures | null): Promise<void> => {
    writer.send('figures');
    const [said] = (await once(writer, 'message')) as [Figures];
    if (figures === null) return;
    for (const one of said.took) figures.took.push(one);
    figures.busy += said.busy;
  };
  try {
    await sleep(1_000);
    await note(null);
    await sleep(ALONE_MS);
    await note(alone);
    const purger = await modules.openPurger({ configPath, env: process.env });
    const begin = performance.now();
    let [deleted, commits, lock, busy, largest, paused] = [0, 0, 0, 0, 0, 0];
    let round = begin;
    for (const piece of archives) {
      if (performance.now() - begin >= MOST_MS) break;
      const purged = await purger.purge(piece, []);
      deleted += purged.deleted;
      commits += purged.commits;
      busy += purged.busy;
      lock = Math.max(lock, purged.lock_ms);
      largest = Math.max(largest, statSync(`${rig.database}-wal`).size);
      if (performance.now() - round < ROUND_MS) continue;
      await note(beside);
      const pause = performance.now();
      await sleep(PAUSE_MS);
      await note(alone);
      round = performance.now();
      paused += round - pause;
    }
    await purger.end();
    purger.close();
    const seconds = (performance.now() - begin - paused) / 1_000;
    await note(beside);
    console.log(
      `purge (synchronous=${synchronous}): ${deleted} rows in ${seconds.toFixed(1)} s (${Math.round(deleted / seconds)}/s, ${commits} commits, ${busy} met a lock), ` +
        `lock held at most ${lock.toFixed(1)} ms, WAL at most ${(largest / MB).toFixed(1)} MB`,
    );
    const p99 = [alone, beside].map(({ took, busy: met }, at) => {
      took.sort((a, b) => a - b);
      const [half, most] = [percentile(took, 0.5), percentile(took, 0.99)];
      console.log(
        `  writer, ${['without', 'beside it'][at]}: ${took.length} commits, p50 ${half.toFixed(2)} ms, p99 ${most.toFixed(2)} ms, most ${took.at(-1)?.toFixed(1)} ms, SQLITE_BUSY ${met}`,
      );
      return most;
    });
    console.log(`  p99 beside it is ${((p99[1] ?? 0) / (p99[0] ?? 0)).toFixed(2)} times that without`);
  } finally {
    writer.disconnect();
    db.close();
    await rig.close();
  }
}

/** Archives all rows. @returns the requests to the purge, one for each part */
async function archiveAll(
  db: Database.Database,
  { TableRows, createArchive }: Modules,
  source: object,
  directory: string,
): Promise<object[]> {
  const rows = new TableRows(db, source, { identify: () => ({ id: '', length: 0 }) });
  const pieces: object[] = [];
  for (let after = 0; after < ROWS; after += IN_ARCHIVE) {
    const some = rows.after(after, ROWS, IN_ARCHIVE).map((row) => ({ ...row, time: null }));
    const known = new Map(some.map((row) => [(row as unknown as { id: number }).id, row]));
    const writer = createArchive({
      directory,
      source: 'postern',
      sourceId: '0'.repeat(32),
      timeline: 1,
      table: rows.shape,
      month: 'undated',
      run: 'bench',
      compression: 'gzip',
      sign: null,
      clock: Date.now,
    });
    for (const row of some) writer.add(row);
    const again = (ids: number[]) => ids.flatMap((id) => known.get(id) ?? []);
    const { sequence, sha256, blocks } = await writer.finish(again as () => object[]);
    const archive = `${String(sequence).padStart(6, '0')}-postern-t1-undated.manifest.json`;
    const piece = { archive, sha256, below: Number.MAX_SAFE_INTEGER };
    pieces.push(...blocks.map((_, block) => ({ ...piece, block })));
  }
  return pieces;
}

/** Rows from two years ago, with every column and index. */
function fill(db: Database.Database): void {
  const insert = db.prepare(
    `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const start = Date.now() - 800 * 86_400_000;
  for (let at = 0; at < ROWS; at += 20_000) {
    db.transaction(() => {
      for (let n = at; n < Math.min(ROWS, at + 20_000); n++) {
        const time = new Date(start + n * 10).toISOString().slice(0, 19).replace('T', ' ');
        const who = n % 50;
        insert.run(
          time,
          who,
          `admin${who}`,
          `admin${who}@example.net`,
          'update',
          'proxy_host',
          n % 300,
          `{"n":${n}}`,
          `198.51.100.${n % 250}`,
          'a',
        );
      }
    })();
  }
}
