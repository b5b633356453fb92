import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENV, MB, usage } from './bench-fixture.js';
import { addFigure } from './figures.js';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');
const CURVE = (process.env.BENCH_SERVERS ?? '10,50,200').split(',').map(Number);
const RATE = Number(process.env.BENCH_RATE ?? 50);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 20);
const PORT = 14_222;

interface HubStatus {
  readonly fleet: {
    readonly hub: { readonly sequence: number; readonly lag_events: number; readonly inserted_total: number };
  };
}

/** Simulated servers with one NATS server and one hub, all on this machine: throughput, lag, and the cost of each part. */
export async function fleet(): Promise<void> {
  if (spawnSync('nats-server', ['--version']).status !== 0) {
    console.log('fleet: nats-server is not installed (apt-get install nats-server)');
    return;
  }
  for (const servers of CURVE) await measure(servers);
}

async function measure(servers: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'));
  const children: ChildProcess[] = [];
  const run = (command: string, args: string[]) => {
    const child = spawn(command, args, { env: ENV, stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(child);
    return child;
  };
  try {
    const url = `nats://127.0.0.1:${PORT}`;
    writeFileSync(
      join(directory, 'nats.conf'),
      `listen: "127.0.0.1:${PORT}"\njetstream { store_dir: "${directory}/nats", max_mem: 64M, max_file: 10G }\n`,
    );
    const config = join(directory, 'config.yml');
    const control = join(directory, 'control.sock');
    writeFileSync(
      config,
      `server: hub
state: ${directory}/state
control: ${control}
log: { level: warn }
min_free: 1M
api: { enabled: false }
fleet: { role: hub, servers: ["${url}"] }
sinks: { audit: { type: file, directory: ${directory}/audit, roll: { size: 2G } } }
fail2ban: { bans: ${directory}/bans/bans.log }
`,
    );
    const nats = run('nats-server', ['-c', join(directory, 'nats.conf')]);
    await sleep(1_000);
    const init = spawnSync(process.execPath, [CLI, 'fleet', 'init', '--config', config], {
      encoding: 'utf8',
    });
    if (init.status !== 0) throw new Error(init.stderr);
    const profile = process.env.BENCH_PROFILE;
    const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
    const hub = run(process.execPath, [
      '--max-semi-space-size=4',
      ...profiling,
      CLI,
      'run',
      '--config',
      config,
    ]);
    while ((await status(control)) === null) await sleep(50);
    const [natsBefore, hubBefore] = [usage(nats.pid ?? 0), usage(hub.pid ?? 0)];
    const senders = run(process.execPath, [
      join(import.meta.dirname, 'fleet-servers.js'),
      '127.0.0.1',
      String(PORT),
      String(servers),
      String(RATE),
      String(SECONDS),
    ]);
    let said = '';
    senders.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = once(senders, 'exit');
    let over = false;
    void ended.then(() => {
      over = true;
    });
    let [lag, sendersCpu] = [0, 0];
    while (!over) {
      const now = await status(control);
      lag = Math.max(lag, now?.fleet.hub.lag_events ?? 0);
      sendersCpu = cpuOf(senders.pid ?? 0) ?? sendersCpu;
      await sleep(200);
    }
    const { acknowledged, took } = JSON.parse(said) as { acknowledged: number; took: number };
    const waiting = performance.now();
    while (((await status(control))?.fleet.hub.inserted_total ?? 0) < acknowledged) await sleep(50);
    const drained = (performance.now() - waiting) / 1_000;
    const [natsAfter, hubAfter] = [usage(nats.pid ?? 0), usage(hub.pid ?? 0)];
    const perSecond = acknowledged / took;
    const share = (after: { cpu: number }, before: { cpu: number }) =>
      `${Math.round(((after.cpu - before.cpu) / took) * 100)} %`;
    const bytes = statSync(join(directory, 'state/hub.db')).size / acknowledged;
    const stream = Number(
      spawnSync('du', ['-sb', join(directory, 'nats')], { encoding: 'utf8' }).stdout.split('\t')[0],
    );
    if (profile !== undefined) {
      hub.kill('SIGTERM');
      await once(hub, 'exit');
    }
    const load = loadavg().map((one) => one.toFixed(1));
    if (servers === Math.max(...CURVE)) {
      const what = `hub of ${servers} servers with ${RATE} events/s each`;
      const used = (after: { cpu: number }, before: { cpu: number }) =>
        ((after.cpu - before.cpu) / took) * 100;
      addFigure({
        name: `${what}: CPU`,
        value: used(hubAfter, hubBefore),
        unit: '% of a core',
        peer: { name: 'nats-server', value: used(natsAfter, natsBefore) },
        bench: 'fleet',
      });
      addFigure({
        name: `${what}: RSS at most`,
        value: hubAfter.peak / MB,
        unit: 'MB',
        peer: { name: 'nats-server', value: natsAfter.peak / MB },
        bench: 'fleet',
      });
      addFigure({ name: `${what}: acknowledged`, value: perSecond, unit: 'events/s', bench: 'fleet' });
      addFigure({ name: `${what}: highest lag`, value: lag / perSecond, unit: 's', bench: 'fleet' });
    }
    console.log(
      `fleet ${servers} servers x ${RATE}/s: ${Math.round(perSecond).toLocaleString('en')} events/s acknowledged; lag at most ` +
        `${lag.toLocaleString('en')} events (${(lag / perSecond).toFixed(1)} s), the rest ${drained.toFixed(1)} s after the last; CPU of a core: ` +
        `hub ${share(hubAfter, hubBefore)}, nats-server ${share(natsAfter, natsBefore)}, senders ${Math.round((sendersCpu / took) * 100)} %; memory: hub ` +
        `${Math.round(hubAfter.rss / 2 ** 20)} MB, nats-server ${Math.round(natsAfter.rss / 2 ** 20)} MB; on disk ${Math.round(bytes)} B an event in hub.db, ` +
        `${Math.round(stream / acknowledged)} B in the stream; load of the machine ${load.join(' ')}`,
    );
  } finally {
    for (const child of children.reverse()) child.kill('SIGKILL');
    await sleep(300);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** CPU seconds of a process; null if it has ended. */
function cpuOf(pid: number): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return null;
  }
}

function status(socketPath: string): Promise<HubStatus | null> {
  return new Promise((done) => {
    const call = request({ socketPath, path: '/status' }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (data: string) => {
        text += data;
      });
      response.on('end', () => done(JSON.parse(text) as HubStatus));
    });
    call.on('error', () => done(null));
    call.end();
  });
}
