import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { Host } from './namespace.js';

export function hasNats(): boolean {
  return spawnSync('nats-server', ['--version']).status === 0;
}

/** Ports that are free now. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export interface NatsOptions {
  /** Number of servers: 1 or 3. */
  readonly nodes?: number;
  /** Additional text of nats-server.conf: `authorization { … }`, `tls { … }`. */
  readonly extra?: string;
  /** Hosts for the servers, one each; default: this host, on loopback. */
  readonly hosts?: readonly Host[];
}

interface Node {
  readonly config: string;
  readonly wrap: readonly string[];
  child: ChildProcess | null;
}

/** The real nats-server, one or a cluster of three, with JetStream on the disk. */
export class Nats {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-nats-'));
  output = '';
  private readonly nodes: Node[] = [];

  private constructor(readonly urls: readonly string[]) {}

  static async start(options: NatsOptions = {}): Promise<Nats> {
    const { hosts, extra = '' } = options;
    const nodes = hosts?.length ?? options.nodes ?? 1;
    const ports = await freePorts(nodes * 2);
    const place = (at: number, port: number) => `${hosts?.[at]?.address ?? '127.0.0.1'}:${ports[port]}`;
    const nats = new Nats(Array.from({ length: nodes }, (_, at) => `nats://${place(at, at * 2)}`));
    const routes = Array.from({ length: nodes }, (_, at) => `"nats://${place(at, at * 2 + 1)}"`);
    for (let at = 0; at < nodes; at++) {
      const config = join(nats.directory, `n${at}.conf`);
      const cluster =
        nodes === 1
          ? ''
          : `cluster { name: fleet, listen: "${place(at, at * 2 + 1)}", routes: [${routes.join(', ')}] }`;
      writeFileSync(
        config,
        `server_name: n${at}
listen: "${place(at, at * 2)}"
jetstream { store_dir: "${nats.directory}/data${at}", max_mem: 256M, max_file: 20G }
${cluster}
# extra
${extra}
`,
      );
      nats.nodes.push({ config, wrap: hosts?.[at]?.wrap ?? [], child: null });
    }
    nats.nodes.forEach((_, at) => {
      nats.run(at);
    });
    return nats;
  }

  /** Starts a node (again). */
  run(at: number): void {
    const node = this.node(at);
    const [command = 'nats-server', ...before] = [...node.wrap, 'nats-server'];
    const child = spawn(command, [...before, '-c', node.config], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-100_000);
      });
    node.child = child;
  }

  async kill(at: number): Promise<void> {
    const node = this.node(at);
    const { child } = node;
    node.child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** Replaces the text of `extra`, and reloads each node. */
  async reconfigure(extra: string): Promise<void> {
    for (const { config, child } of this.nodes) {
      const text = readFileSync(config, 'utf8');
      writeFileSync(config, text.replace(/# extra\n[\s\S]*/, `# extra\n${extra}\n`));
      child?.kill('SIGHUP');
    }
    await sleep(200);
  }

  pid(at: number): number | null {
    return this.node(at).child?.pid ?? null;
  }

  /** Waits until JetStream answers at some node. */
  async ready(limitMs = 30_000, login: Record<string, string> = {}): Promise<void> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      try {
        const nc = await connect({
          servers: this.urls.map((url) => url.slice(7)),
          timeout: 1_000,
          reconnect: false,
          ...login,
        });
        try {
          const manager = await jetstream(nc, { timeout: 1_000 }).jetstreamManager();
          await manager.getAccountInfo();
          return;
        } finally {
          await nc.close();
        }
      } catch (error) {
        if (Date.now() > deadline)
          throw new Error(`nats-server is not ready: ${String(error)}\n${this.output}`);
        await sleep(50);
      }
    }
  }

  async close(): Promise<void> {
    for (let at = 0; at < this.nodes.length; at++) await this.kill(at);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private node(at: number): Node {
    const node = this.nodes[at];
    if (node === undefined) throw new Error(`no node ${at}`);
    return node;
  }
}
