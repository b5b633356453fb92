import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { compiled } from '../support/compiled.js';
import { asUser, type Identity } from '../support/other-user.js';

/** A child that answers each line with a line. */
class Talker {
  private readonly child: ChildProcess;
  private readonly lines: Interface;
  private readonly answers: AsyncIterator<string>;

  constructor(command: readonly string[]) {
    const [program = '', ...rest] = command;
    this.child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.child.stdout ?? process.stdin });
    this.answers = this.lines[Symbol.asyncIterator]();
  }

  async ask(question: Record<string, unknown>): Promise<Record<string, unknown>> {
    this.child.stdin?.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.answers.next();
    if (done === true) throw new Error('the child has ended');
    return JSON.parse(value) as Record<string, unknown>;
  }

  /** kill -9 */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const ended = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await ended;
    }
    this.lines.close();
  }
}

const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));

function as(identity: Identity | undefined, command: readonly string[]): readonly string[] {
  return identity === undefined ? command : asUser(identity, command);
}

/** A program that has the database open, as Postern does. */
export class Writer {
  private readonly talker: Talker;

  constructor(path: string, identity?: Identity) {
    this.talker = new Talker(as(identity, [process.execPath, script('writer.mjs'), path]));
  }

  async ask(command: string, options: Record<string, unknown> = {}): Promise<unknown> {
    const { value, error } = await this.talker.ask({ command, ...options });
    if (typeof error === 'string') throw new Error(error);
    return value;
  }

  async open(mode = 'wal'): Promise<this> {
    await this.ask('open', { mode });
    return this;
  }

  async exec(sql: string): Promise<void> {
    await this.ask('exec', { sql });
  }

  /** The highest id then. */
  async insert(count = 1, options: Record<string, unknown> = {}): Promise<number> {
    return Number(await this.ask('insert', { count, ...options }));
  }

  async kill(): Promise<void> {
    await this.talker.kill();
  }

  /** Closes the database and ends, as a service does that is stopped. */
  async stop(): Promise<void> {
    await this.ask('close');
    await this.kill();
  }
}

/** Postern's source in a process of its own, as another user or behind a read-only mount. */
export class Reader {
  private readonly talker: Talker;

  constructor(
    database: string,
    privateDirectory: string,
    {
      identity,
      readOnly,
    }: { readonly identity?: Identity /** A directory. */; readonly readOnly?: string } = {},
  ) {
    const reader = [process.execPath, script('reader.mjs'), compiled(), database, privateDirectory];
    const command = as(identity, reader);
    // The mount is in a namespace of the child's own and goes with it.
    const behindMount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"';
    this.talker = new Talker(
      readOnly === undefined
        ? command
        : ['unshare', '--mount', 'sh', '-c', behindMount, readOnly, ...command],
    );
  }

  /** The look without its events, but for their ids. */
  async look(times = 1): Promise<Record<string, unknown>> {
    return this.talker.ask({ times });
  }

  async kill(): Promise<void> {
    await this.talker.kill();
  }
}

/** Whether the sqlite3 shell is here; says so loudly where it is not, and fails under CI. */
export function hasSqliteShell(): boolean {
  if (spawnSync('sqlite3', ['--version']).status === 0) return true;
  const message =
    'SKIPPED: tests that restore backups with the sqlite3 shell: it is missing (apt-get install sqlite3)';
  if (process.env.CI !== undefined) throw new Error(message);
  console.warn(message);
  return false;
}

/** Whether this process may do what a test needs; says so loudly where it may not, and fails under CI. */
export function isRoot(): boolean {
  if (process.geteuid?.() === 0) return true;
  const message = 'SKIPPED: tests that need other users and mounts: not root';
  if (process.env.CI !== undefined) throw new Error(message);
  console.warn(message);
  return false;
}
