import { spawn, spawnSync } from 'node:child_process';
import { resolve } from 'node:path';

/** The compiled command, as `npm run build` leaves it. */
export const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a sub-command to its end, away from whatever configuration this host has. */
export function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, TZ: 'UTC', ...env },
    timeout: 60_000,
  });
  return { code: status, out: stdout, err: stderr };
}

/** Starts one that goes on, and collects what it says. */
export function follow(args: readonly string[]): {
  lines(): string[];
  until(count: number): Promise<string[]>;
  stop(): Promise<void>;
} {
  const child = spawn(process.execPath, [CLI, ...args], { env: { PATH: process.env.PATH, TZ: 'UTC' } });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
  }
  const lines = () => out.split('\n').slice(0, -1);
  return {
    lines,
    async until(count) {
      const deadline = Date.now() + 20_000;
      while (lines().length < count) {
        if (Date.now() > deadline) throw new Error(`only ${lines().length} of ${count} lines:\n${out}`);
        await new Promise((done) => setTimeout(done, 20));
      }
      return lines();
    },
    async stop() {
      const ended = new Promise((done) => child.once('close', done));
      child.kill('SIGINT');
      await ended;
    },
  };
}
