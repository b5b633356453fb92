import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fill } from './backlog.js';
import { Rig, usage } from './bench-fixture.js';
import { addFigure } from './figures.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 300_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);

interface Way {
  readonly name: string;
  readonly receiver: 'receiver.js' | 'http-receiver.js';
  readonly delayMs: number;
  /** YAML of the sink, for a port. */
  readonly sink: (port: number) => string;
}

const http = (name: string, protocol: string, path: string, delayMs: number, more = ''): Way => ({
  name,
  receiver: 'http-receiver.js',
  delayMs,
  sink: (port) =>
    `type: http, protocol: ${protocol}, url: "http://127.0.0.1:${port}/${path}", start: beginning${more}`,
});

const WAYS: readonly Way[] = [
  {
    name: 'syslog over TCP',
    receiver: 'receiver.js',
    delayMs: 0,
    sink: (port) => `type: syslog, transport: tcp, targets: ["127.0.0.1:${port}"], start: beginning`,
  },
  http('OTLP protobuf', 'otlp', 'v1/logs', 0),
  http('OTLP protobuf, answers after 20 ms', 'otlp', 'v1/logs', 20),
  http('Elasticsearch', 'elasticsearch', 'audit/_bulk', 0),
  http('Elasticsearch, without gzip', 'elasticsearch', 'audit/_bulk', 0, ', compression: none'),
  http('Elasticsearch, answers after 20 ms', 'elasticsearch', 'audit/_bulk', 20),
];

/** A backlog over HTTP beside syslog over TCP, in turns. Each receiver is a process of its own that counts. */
export async function overHttp(): Promise<void> {
  const rig = new Rig();
  const rates = new Map<string, number[]>();
  const cpus = new Map<string, number[]>();
  try {
    fill(rig, ROWS);
    for (let round = 0; round < ROUNDS; round++) {
      for (const way of WAYS) {
        const { seconds, cpu } = await run(rig, way);
        rates.set(way.name, [...(rates.get(way.name) ?? []), ROWS / seconds]);
        cpus.set(way.name, [...(cpus.get(way.name) ?? []), (cpu / ROWS) * 1e6]);
      }
    }
  } finally {
    await rig.close();
  }
  const [peer = ''] = WAYS.map(({ name }) => name);
  for (const { name } of WAYS) {
    const beside = (of: Map<string, number[]>) =>
      name === peer ? {} : { peer: { name: peer, value: median(of.get(peer) ?? []) } };
    addFigure({
      name,
      value: median(rates.get(name) ?? []),
      unit: 'events/s',
      ...beside(rates),
      bench: 'http',
    });
    addFigure({
      name: `${name}: CPU an event, start included`,
      value: median(cpus.get(name) ?? []),
      unit: 'µs',
      ...beside(cpus),
      bench: 'http',
    });
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

async function run(rig: Rig, way: Way): Promise<{ seconds: number; cpu: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, way.receiver)], {
    env: { ...process.env, EXPECTED: String(ROWS), DELAY_MS: String(way.delayMs) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface({ input: child.stdout });
    const [first] = (await once(lines, 'line')) as [string];
    const { port } = JSON.parse(first) as { port: number };
    const all = once(lines, 'line');
    rig.configure(`  out: { ${way.sink(port)}, events: { source: [postern] } }`);
    const pid = await rig.start();
    const [text] = (await all) as [string];
    const { cpu } = usage(pid);
    await rig.forget();
    return { seconds: (JSON.parse(text) as { seconds: number }).seconds, cpu };
  } finally {
    child.kill();
  }
}
