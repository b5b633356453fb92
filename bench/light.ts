import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAuditTable, createRecorder } from 'postern-auditd/recorder';
import Database from '#sqlite';
import { bareNode, cpuOf, ENV, MB, percentile, usage } from './bench-fixture.js';
import { addFigure, type Figure } from './figures.js';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
/** V8 runs its first full collection of an idle process within this time. Memory before that is shown too. */
const SETTLE_SECONDS = Number(process.env.BENCH_SETTLE ?? 150);
const IDLE_SECONDS = 60;
const PORT = Number(process.env.BENCH_PORT ?? 28_281);
const COMMANDS = ['status', 'query', 'check'] as const;

/** A build, started like an installation: with bin/postern-auditd and the Node.js in NODE. */
class Program {
  readonly bin: string;

  constructor(
    readonly name: string,
    build: string,
    directory: string,
  ) {
    mkdirSync(join(directory, 'bin'), { recursive: true });
    this.bin = join(directory, 'bin/postern-auditd');
    copyFileSync(join(build, 'bin/postern-auditd'), this.bin);
    writeFileSync(join(directory, 'NODE'), `${process.execPath}\n`);
    for (const part of ['dist', 'node_modules', 'package.json', 'web', 'config', 'fail2ban'])
      symlinkSync(join(build, part), join(directory, part));
  }
}

/** A running daemon with its own database, state and control socket. */
class Daemon {
  private constructor(
    private readonly child: ChildProcess,
    readonly config: string,
    readonly ready: { readonly cpu: number; readonly elapsed: number },
  ) {}

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** @param api YAML of `api` */
  static async start({ bin }: Program, directory: string, api: string): Promise<Daemon> {
    mkdirSync(directory);
    const config = join(directory, 'config.yml');
    writeFileSync(
      config,
      `server: bench
source: { database: ${directory}/posternproxy.db }
state: ${directory}/state
control: ${directory}/control.sock
log: { level: info }
min_free: 64M
sinks:
  audit: { type: file, directory: ${directory}/audit }
  auth: { type: fail2ban, directory: ${directory}/auth }
fail2ban: { bans: ${directory}/bans.log }
api: ${api}
`,
    );
    fill(join(directory, 'posternproxy.db'));
    const begin = performance.now();
    const child = spawn(bin, ['run', '--config', config], { env: ENV, stdio: ['ignore', 'pipe', 'inherit'] });
    const ready = new Promise<Daemon['ready']>((done, failed) => {
      child.once('exit', () => failed(new Error('the daemon did not start')));
      let said = '';
      child.stdout.on('data', (part: Buffer) => {
        said += part.toString();
        if (!said.includes('postern-auditd is ready')) return;
        said = '';
        done({ cpu: usage(child.pid ?? 0).cpu * 1_000, elapsed: performance.now() - begin });
      });
    });
    return new Daemon(child, config, await ready);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await ended;
  }
}

function fill(database: string): void {
  const db = new Database(database);
  db.pragma('journal_mode = WAL');
  createAuditTable(db);
  const recorder = createRecorder(db);
  db.transaction(() => {
    for (let n = 0; n < 1_000; n++) recorder.record({ action: 'auth.login_success', details: { n } });
  })();
  db.close();
}

type Figures = Map<string, number[]>;

function add(figures: Figures, name: string, value: number): void {
  figures.set(name, [...(figures.get(name) ?? []), value]);
}

/** CPU of the commands beside a daemon of the same build, and of the daemon until it is ready. */
async function measureStart(program: Program, figures: Figures, directory: string): Promise<void> {
  const daemon = await Daemon.start(program, directory, '{ enabled: false }');
  add(figures, 'CPU until ready (ms)', daemon.ready.cpu);
  add(figures, 'time until ready (ms)', daemon.ready.elapsed);
  for (const command of COMMANDS)
    add(figures, `CPU of ${command} (ms)`, cpuOf(program.bin, [command, '--config', daemon.config]) * 1_000);
  await daemon.stop();
  rmSync(directory, { recursive: true, force: true });
}

/** Memory and CPU of the daemons while nothing happens, all at the same time. */
async function measureIdle(programs: readonly Program[], all: Figures[], directory: string): Promise<void> {
  const daemons = await Promise.all(
    programs.flatMap((program, at) =>
      [`{ listen: "127.0.0.1:${PORT + at}" }`, '{ enabled: false }'].map(async (api, lean) => ({
        figures: all[at] ?? new Map(),
        with: lean === 1 ? 'API off' : 'API on',
        daemon: await Daemon.start(program, join(directory, `idle-${at}-${lean}`), api),
      })),
    ),
  );
  await sleep(20_000);
  for (const { figures, with: api, daemon } of daemons)
    add(figures, `RSS after 20 s, ${api} (MB)`, usage(daemon.pid).rss / MB);
  await sleep(Math.max(0, SETTLE_SECONDS - 20) * 1_000);
  const before = daemons.map(({ daemon }) => usage(daemon.pid).cpu);
  await sleep(IDLE_SECONDS * 1_000);
  for (const [at, { figures, with: api, daemon }] of daemons.entries()) {
    const { cpu, rss } = usage(daemon.pid);
    add(figures, `idle RSS, ${api} (MB)`, rss / MB);
    add(figures, `idle CPU, ${api} (ms/s)`, ((cpu - (before[at] ?? 0)) * 1_000) / IDLE_SECONDS);
  }
  await Promise.all(daemons.map(({ daemon }) => daemon.stop()));
}

/**
 * The cost of an idle daemon and of a start, for this build or several in turn (A B A B …), so that before
 * and after come from one run. With several builds it prints their medians as Markdown; the table has those of the first.
 *
 * @param builds directories with bin/, dist/ and node_modules/; none: this one
 */
export async function light(builds: readonly string[]): Promise<void> {
  const roots =
    builds.length === 0 ? [resolve(import.meta.dirname, '../..')] : builds.map((at) => resolve(at));
  const missing = roots.find((root) => !existsSync(join(root, 'dist/cli.js')));
  if (missing !== undefined) throw new Error(`${missing} has no dist/cli.js: build it first`);
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  try {
    const programs = roots.map((root, at) => new Program(root, root, join(directory, `program-${at}`)));
    const all: Figures[] = programs.map(() => new Map<string, number[]>());
    for (let round = 0; round < ROUNDS; round++)
      for (const [at, program] of programs.entries())
        await measureStart(program, all[at] ?? new Map(), join(directory, 'start'));
    if (SETTLE_SECONDS > 0) await measureIdle(programs, all, directory);
    if (programs.length > 1) print(programs, all);
    await addFigures(all[0] ?? new Map());
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Goals of a start are ratios to an older build: they are seen with two builds only. */
const IDLE_GOALS: Readonly<Record<string, Figure['goal']>> = {
  'idle RSS, API on (MB)': { atMost: 65 },
  'idle RSS, API off (MB)': { atMost: 55 },
  'idle CPU, API on (ms/s)': { atMost: 0.6 },
  'idle CPU, API off (ms/s)': { atMost: 0.6 },
};

async function addFigures(measured: Figures): Promise<void> {
  const start = median(Array.from({ length: ROUNDS }, () => cpuOf(process.execPath, ['-e', '0']) * 1_000));
  const bare = await bareNode(IDLE_SECONDS);
  for (const [title, values] of measured) {
    const [, name = title, unit = ''] = /^(.*) \((.*)\)$/.exec(title) ?? [];
    const peer =
      unit === 'MB'
        ? { name: 'Node.js with a timer', value: bare.rss / MB }
        : unit === 'ms/s'
          ? { name: 'Node.js with a timer', value: bare.cpu }
          : title.startsWith('CPU')
            ? { name: '`node -e 0`', value: start }
            : null;
    const goal = IDLE_GOALS[title];
    addFigure({
      name,
      value: median(values),
      unit,
      bench: 'light',
      ...(goal === undefined ? {} : { goal }),
      ...(peer === null ? {} : { peer }),
    });
  }
}

function median(values: readonly number[]): number {
  return percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

function print(programs: readonly Program[], all: readonly Figures[]): void {
  const ratio = programs.length === 2;
  console.log(`| figure | ${programs.map(({ name }) => name).join(' | ')} |${ratio ? ' ratio |' : ''}`);
  console.log(`| --- |${' ---: |'.repeat(programs.length + (ratio ? 1 : 0))}`);
  for (const name of all[0]?.keys() ?? []) {
    const values = all.map((figures) => median(figures.get(name) ?? []));
    const [first = Number.NaN, last = Number.NaN] = [values[0], values.at(-1)];
    const cells = values.map((value) => value.toFixed(value < 10 ? 2 : 0));
    if (ratio) cells.push((last / first).toFixed(2));
    console.log(`| ${name} | ${cells.join(' | ')} |`);
  }
}
