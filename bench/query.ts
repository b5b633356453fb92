import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createAuditTable } from 'postern-auditd/recorder';
import { MB, percentile, Rig } from './bench-fixture.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
const TIMES = 100;
const PER_PAGE = 50;
const FAR = 1_000;
const YEAR_MS = 31_536_000_000;
const CLI = resolve(import.meta.dirname, '../../dist/cli.js');
/** src/ compiled file by file (npm run prebench), because dist/ is a bundle. */
const MODULES = resolve(import.meta.dirname, '../modules');

/** The parts of query/engine.ts and filter.ts that this bench uses. */
interface Engine {
  page(request: object): unknown;
  close(): void;
}
interface EngineModule {
  readonly QueryEngine: new (options: object) => Engine;
}
interface FilterModule {
  readonly parseFilter: (input: object, now: number) => object;
}

/** A filter, and the SQL that gives its first page at the shell. */
const FILTERS: ReadonlyArray<readonly [Readonly<Record<string, string>>, string]> = [
  [{}, ''],
  [{ resource_type: 'certificate' }, "WHERE resource_type = 'certificate'"],
  [{ action: 'auth.login_failure' }, "WHERE action = 'login_failure' AND resource_type = 'auth'"],
  [{ user: '7' }, 'WHERE user_id = 7'],
  [{ user: 'admin7@example.net' }, "WHERE user_email = 'admin7@example.net'"],
  [{ from: '-30d' }, "WHERE created_at >= datetime('now', '-30 days')"],
  [{ to: '-180d' }, "WHERE created_at < datetime('now', '-180 days')"],
  [{ server: 'proxy-2' }, "WHERE server = 'proxy-2'"],
  [{ ip: '198.51.100.7' }, "WHERE ip_address = '198.51.100.7'"],
  [{ ip: '198.51.100.0/24' }, "WHERE ip_address LIKE '198.51.100.%'"],
  [{ outcome: 'failure' }, "WHERE action = 'login_failure'"],
  [{ user: 'nobody' }, "WHERE user_name = 'nobody'"],
];

/** First pages, page 1,000 and an export, compared with the sqlite3 shell and the same SQL. BENCH_ROWS rows; 10 million for the guarantee. */
export async function query(): Promise<void> {
  const rig = new Rig();
  const { QueryEngine } = (await import(join(MODULES, 'query/engine.js'))) as EngineModule;
  const { parseFilter } = (await import(join(MODULES, 'query/filter.js'))) as FilterModule;
  const { db } = rig.open(); // stays open, like Postern's
  try {
    createAuditTable(db);
    fill(db);
    const keys = ['id', 'created_at', 'user_id', 'user_name', 'user_email', 'action', 'resource_type'];
    const columns = [...keys, 'resource_id', 'details', 'ip_address', 'server'];
    const engine = new QueryEngine({
      database: rig.database,
      table: 'audit_log',
      columns: Object.fromEntries(columns.map((key) => [key, key])),
      aliases: {},
      stateDatabase: join(rig.directory, 'state/state.db'),
      redact: { keys: [], mode: 'mask' },
      server: 'bench',
    });
    const request = { limit: PER_PAGE, cursor: null, count: 'some', timeLimit: 60_000 } as const;
    console.log(
      `query: ${ROWS.toLocaleString('en')} rows; first page with its count, the first time and ${TIMES} times more; page ${FAR}; sqlite3 in the shell`,
    );
    for (const [input, where] of FILTERS) {
      const filter = parseFilter(input, Date.now());
      const page = () => timed(() => engine.page({ ...request, filter, page: 1 }));
      const once = page(); // may have to build the zone map (src/query/plan/zone-map.ts)
      const first = Array.from({ length: TIMES }, page);
      const farPage = () => timed(() => engine.page({ ...request, filter, page: FAR, count: 'none' }));
      const [farOnce, far] = [farPage(), farPage()]; // the first may have to build the map
      const cpu = first.map((one) => one.cpu).sort((a, b) => a - b);
      const shell = inShell(
        rig.database,
        `SELECT * FROM audit_log ${where} ORDER BY created_at DESC, id DESC LIMIT ${PER_PAGE}`,
      );
      const wall = first.map((one) => one.wall).sort((a, b) => a - b);
      const at = (sorted: readonly number[], part: number) => percentile(sorted, part).toFixed(1);
      console.log(
        `  ${JSON.stringify(input).padEnd(36)} first ${once.wall.toFixed(0)} ms (CPU ${once.cpu.toFixed(0)}); p50 ${at(wall, 0.5)} ms, p99 ${at(wall, 0.99)} ms (CPU ${at(cpu, 0.5)}, ${at(cpu, 0.99)}); ` +
          `page ${FAR} first ${farOnce.wall.toFixed(0)} ms, then ${far.wall.toFixed(0)} ms (CPU ${far.cpu.toFixed(0)}); sqlite3 ${shell.toFixed(0)} ms`,
      );
    }
    engine.close();
    for (const format of ['ndjson', 'csv']) exportAll(rig, format);
  } finally {
    db.close();
    await rig.close();
  }
}

function exportAll(rig: Rig, format: string): void {
  const output = join(rig.directory, `all.${format}`);
  const args = ['export', `--${format}`, '-o', output, '--config', join(rig.directory, 'config.yml')];
  const begin = performance.now();
  const { status, stderr } = spawnSync('/usr/bin/time', ['-f', '%M %U %S', process.execPath, CLI, ...args], {
    encoding: 'utf8',
  });
  const seconds = (performance.now() - begin) / 1_000;
  if (status !== 0) throw new Error(`export: ${stderr}`);
  const bytes = statSync(output).size;
  rmSync(output);
  const [, resident, user, system] = /(\d+) ([\d.]+) ([\d.]+)\s*$/.exec(stderr) ?? [];
  const rss = Number(resident) * 1_024;
  const cpu = Number(user) + Number(system);
  const mode = format === 'csv' ? 'csv' : 'json';
  const shell = inShell(rig.database, 'SELECT * FROM audit_log ORDER BY id DESC', `-${mode}`) / 1_000;
  console.log(
    `  export ${format}: ${Math.round(ROWS / seconds)} rows/s (${Math.round(ROWS / cpu)} a second of CPU), ${(bytes / seconds / MB).toFixed(0)} MB/s, RSS ${(rss / MB).toFixed(0)} MB; sqlite3 -${mode} ${Math.round(ROWS / shell)} rows/s`,
  );
}

/** Elapsed and CPU milliseconds, as the machines are shared. */
function timed(work: () => unknown): { wall: number; cpu: number } {
  const before = process.cpuUsage();
  const begin = performance.now();
  work();
  const wall = performance.now() - begin;
  const { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1_000 };
}

function endOf(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const bytes = Buffer.alloc(Math.min(size, 200));
    readSync(fd, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString();
  } finally {
    closeSync(fd);
  }
}

/** The time by the shell's own timer, without its start: `Run Time: real 0.012 …` */
function inShell(database: string, sql: string, mode = '-list'): number {
  const output = join(`${database}.out`);
  const { stdout, status, stderr } = spawnSync('sqlite3', ['-readonly', mode, database], {
    input: `.timer on\n.output ${output}\n${sql};\n.output stdout\n`,
    encoding: 'utf8',
  });
  // The output may exceed the longest string.
  const text = `${stdout}${endOf(output)}`;
  rmSync(output, { force: true });
  const [, seconds] = /Run Time: real ([\d.]+)/.exec(text) ?? [];
  if (status !== 0 || seconds === undefined) throw new Error(`sqlite3: ${stderr || text.slice(-200)}`);
  return Number(seconds) * 1_000;
}

/** A year of entries of ten kinds. */
export function fill(db: ReturnType<Rig['open']>['db'], rows = ROWS): void {
  const kinds = [
    ['login_failure', 'auth'],
    ['login_success', 'auth'],
    ['update', 'proxy_host'],
    ['create', 'proxy_host'],
    ['delete', 'proxy_host'],
    ['renew', 'certificate'],
    ['update', 'user'],
    ['create', 'access_list'],
    ['update', 'setting'],
    ['create', 'backup'],
  ] as const;
  const indexes = db
    .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    .all() as Array<{ name: string; sql: string }>;
  for (const { name } of indexes) db.exec(`DROP INDEX "${name}"`);
  const insert = db.prepare(
    `INSERT INTO audit_log (created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const first = Date.now() - YEAR_MS;
  const some = db.transaction((from: number, below: number) => {
    for (let n = from; n < below; n++) {
      const [action, type] = kinds[((n * 7_919) % 97) % kinds.length] ?? kinds[0];
      const time = new Date(first + (n / rows) * YEAR_MS).toISOString().slice(0, 19).replace('T', ' ');
      const user = (n * 31) % 50;
      const host = `host${n % 1_000}.example.net`;
      const details = `{"domain_names":["${host}"],"forward_port":8080,"enabled":true,"before":{"enabled":false}}`;
      const address = `198.51.${(n >> 8) % 256}.${n % 256}`;
      insert.run(
        time,
        user,
        `admin${user}`,
        `admin${user}@example.net`,
        action,
        type,
        String(n % 1_000),
        details,
        address,
        `proxy-${n % 4}`,
      );
    }
  });
  for (let from = 0; from < rows; from += 100_000) some(from, Math.min(rows, from + 100_000));
  for (const { sql } of indexes) db.exec(sql);
  db.pragma('wal_checkpoint(TRUNCATE)');
}
