import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { controlRequest } from '../../src/control/client.js';
import type { DaemonStatus } from '../../src/control/status.js';

export const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

/** Longest part of a daemon's output in an error. */
const SHOWN = 50_000;

/** The compiled daemon in a separate process, with its own directory. */
export class DaemonProcess {
  readonly directory: string;
  readonly configPath: string;
  readonly control: string;
  child: ChildProcess | null = null;
  output = '';

  constructor(
    readonly name: string,
    /** A command that runs the daemon, such as `ip netns exec …`. */
    private readonly wrapper: readonly string[] = [],
    /** Variables in addition to the environment of the tests. */
    private readonly env: Readonly<Record<string, string>> = {},
  ) {
    this.directory = mkdtempSync(join(tmpdir(), `postern-${name}-`));
    this.configPath = join(this.directory, 'config.yml');
    this.control = join(this.directory, 'control.sock');
  }

  /** Starts the process, and waits until the daemon answers. */
  async start(): Promise<void> {
    this.launch();
    await this.until(() => true, 'start');
  }

  /** Starts the process without waiting. */
  launch(): void {
    const [command = process.execPath, ...args] = [...this.wrapper, process.execPath];
    const child = spawn(command, [...args, CLI, 'run', '--config', this.configPath], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.env },
    });
    this.child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
  }

  /** The status; null while the daemon does not answer. */
  async status(): Promise<DaemonStatus | null> {
    try {
      return (await controlRequest(this.control, 'GET', '/status')) as DaemonStatus;
    } catch {
      return null;
    }
  }

  /** Waits for a status. If the process ends or the time limit is reached, it fails with the last status and the output. */
  async until(
    wanted: (status: DaemonStatus) => boolean,
    what: string,
    limitMs = 300_000,
  ): Promise<DaemonStatus> {
    const deadline = Date.now() + limitMs;
    for (;;) {
      const { child } = this;
      const status = await this.status();
      if (status !== null && wanted(status)) return status;
      const ended = child === this.child ? (child?.signalCode ?? child?.exitCode ?? null) : null;
      if (ended === null && Date.now() <= deadline) {
        await sleep(20);
        continue;
      }
      const why = ended === null ? `not within ${limitMs} ms` : `the daemon ended with ${ended}`;
      const found = JSON.stringify(status, null, 1);
      throw new Error(`${this.name}, ${what}: ${why}: ${found}\n${this.output.slice(-SHOWN)}`);
    }
  }

  /** @returns the exit code; null if a signal ended the process */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    const { child } = this;
    if (child === null || child.exitCode !== null || child.signalCode !== null)
      return child?.exitCode ?? null;
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
    child.kill(signal);
    const code = await ended;
    this.child = null;
    return code;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
