import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';

const here = dirname(fileURLToPath(import.meta.url));
const script = join(here, 'host.sh');

export type Suite = 'bookworm' | 'trixie';

export interface HostOptions {
  readonly suite: Suite;
  /** Lower-case letters, digits and dashes. Hosts with different names can run in parallel. */
  readonly name: string;
  /** Debian packages in addition to those of guest-packages.txt. Each set has a separate root file system, built once. */
  readonly packages?: readonly string[];
  /** True omits the packages of guest-packages.txt that a boot does not need, such as fail2ban and SQLite. */
  readonly bare?: boolean;
  /** `SRC:DST` or `SRC:DST:ro`. The Node.js binary that runs the tests is always there as /usr/local/bin/node. */
  readonly binds?: readonly string[];
  /** False omits the Node.js binary. */
  readonly node?: boolean;
}

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The result for a client of the host: `open` (over UDP: an answer arrived), `refused`, `timeout` or the code of another error. */
type Reached = string;

interface Attempt {
  readonly port: number;
  /** Client address in 10.77.0.0/16 or fd77::/16. It decides the address family. */
  readonly from?: string;
  /** Default: the guest's address of that family. */
  readonly to?: string;
  readonly ipv6?: boolean;
  readonly udp?: boolean;
  /** Milliseconds. The refusal of an IPv6 connection takes about 1 s. */
  readonly wait?: number;
}

/** A booted Debian host for one test file, and a client in a separate network namespace. */
export interface Host {
  readonly name: string;
  readonly address4: '10.77.0.2';
  readonly address6: 'fd77::2';
  /** Runs a program, or a line of shell, as root in the guest. Throws if it fails, unless `check` is false. */
  exec(
    command: string | readonly string[],
    options?: { check?: boolean; input?: string | Uint8Array },
  ): Promise<Ran>;
  /** Runs a program of this machine in the network namespace `host`, `client` or one added by `addNet`. */
  outside(net: string, command: readonly string[], options?: { check?: boolean }): Promise<Ran>;
  /** Starts a program of this machine in a network namespace; it ends with the host. */
  start(net: string, command: readonly string[]): void;
  /** Adds a network namespace `net`, removed with the host. */
  addNet(net: string): Promise<void>;
  /** Copies a file to `destination`, or a folder's contents into the folder `destination`, owned by root. */
  put(source: string, destination: string): Promise<void>;
  /** Writes a file in the guest. */
  write(path: string, text: string): Promise<void>;
  /** Tries one connection (or datagram) from a client's address to the guest. */
  attack(attempt: Attempt): Promise<Reached>;
  /** Repeats a line of shell in the guest until `until` accepts what it printed; throws after `seconds`, 60 by default. */
  waitFor(
    command: string,
    until: (stdout: string, code: number) => boolean,
    seconds?: number,
  ): Promise<string>;
  /**
   * Shuts the guest down in order and boots it again, with all that is on its disk.
   *
   * @param up the uptime in seconds by the guest's monotonic clocks; default: this machine's
   */
  reboot(up?: number): Promise<void>;
  stop(): Promise<void>;
}

/** The reason why this machine can't boot a test host, or null. */
function whyNoHosts(): string | null {
  if (process.platform !== 'linux') return 'test hosts need Linux';
  if (process.getuid?.() !== 0) return 'test hosts need root';
  const missing = ['debootstrap', 'systemd-nspawn', 'ip', 'nsenter', 'sysctl'].filter((program) => {
    try {
      execFileSync('sh', ['-c', 'command -v "$1"', 'sh', program], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });
  if (missing.length === 0) return null;
  return `${missing.join(', ')} missing: apt-get install --no-install-recommends $(grep -v '^#' test/host/packages.txt)`;
}

/** `describe` for tests that boot hosts. On a machine that can't boot one they are skipped with a warning, and fail if CI is set. */
export function describeHost(title: string, body: () => void): void {
  const reason = whyNoHosts();
  if (reason === null) {
    describe(title, body);
  } else if (process.env.CI) {
    it(`${title} can boot a test host`, () => expect.fail(reason));
  } else {
    console.warn(`SKIPPED ${title}: ${reason}`);
    describe.skip(title, body);
  }
}

/** Boots a guest in about half a second. Building its root file system first takes about a minute and a half. */
export async function bootHost(options: HostOptions): Promise<Host> {
  const { name } = options;
  const binds = [...(options.binds ?? [])];
  if (options.node !== false) binds.push(`${process.execPath}:/usr/local/bin/node:ro`);
  const env = {
    ...(options.packages ? { POSTERN_TEST_PACKAGES: options.packages.join(' ') } : {}),
    ...(options.bare ? { POSTERN_TEST_BARE: 'true' } : {}),
  };
  await execa(script, ['boot', options.suite, name, ...binds], { env, stdin: 'ignore' });
  const scratch = mkdtempSync(join(tmpdir(), `pa-${name}-`));
  const running: Array<{ kill(): boolean }> = [];
  let files = 0;

  async function run(
    args: readonly string[],
    settings: { check?: boolean; input?: string | Uint8Array } = {},
  ): Promise<Ran> {
    const result = await execa(script, args, {
      reject: false,
      stripFinalNewline: false,
      maxBuffer: 256 * 2 ** 20,
      ...(settings.input === undefined ? { stdin: 'ignore' } : { input: settings.input }),
    });
    const ran = { code: result.exitCode ?? -1, stdout: result.stdout, stderr: result.stderr };
    if (settings.check !== false && ran.code !== 0) {
      throw new Error(`${args.join(' ')}\nended with ${ran.code}\n${ran.stdout}\n${ran.stderr}`);
    }
    return ran;
  }

  const host: Host = {
    name,
    address4: '10.77.0.2',
    address6: 'fd77::2',
    exec: (command, settings) =>
      run(['exec', name, ...(typeof command === 'string' ? ['sh', '-c', command] : command)], settings),
    outside: (net, command, settings) => run(['outside', name, net, ...command], settings),
    start: (net, command) => {
      const child = execa(script, ['outside', name, net, ...command], { stdio: 'ignore', reject: false });
      running.push(child);
    },
    addNet: async (net) => {
      await execa('ip', ['netns', 'add', `pa-${name}.${net}`]);
      await execa('ip', ['-n', `pa-${name}.${net}`, 'link', 'set', 'lo', 'up']);
    },
    put: async (source, destination) => {
      await run(['put', name, source, destination]);
    },
    write: async (path, text) => {
      const file = join(scratch, String(files++));
      writeFileSync(file, text);
      await run(['put', name, file, path]);
      rmSync(file);
    },
    attack: async (attempt) => {
      const ipv6 = attempt.ipv6 ?? (attempt.from ?? attempt.to ?? '').includes(':');
      const from = attempt.from ?? (ipv6 ? 'fd77::1' : '10.77.0.1');
      const to = attempt.to ?? (ipv6 ? host.address6 : host.address4);
      if (!/^(10\.77\.|fd77:)/.test(from) || !/^(10\.77\.|fd77:)/.test(to)) {
        throw new Error(`${from} → ${to}: only addresses inside 10.77.0.0/16 and fd77::/16`);
      }
      const address = ['ip', 'addr', 'replace', `${from}/16`, 'dev', 'eth0', ...(ipv6 ? ['nodad'] : [])];
      await run(['outside', name, 'client', ...address]);
      const args = [
        attempt.udp ? 'udp' : 'tcp',
        from,
        to,
        String(attempt.port),
        String(attempt.wait ?? 15_000),
      ];
      const ran = await run([
        'outside',
        name,
        'client',
        process.execPath,
        join(here, 'connect.mjs'),
        ...args,
      ]);
      return ran.stdout;
    },
    waitFor: async (command, until, seconds = 60) => {
      const deadline = Date.now() + seconds * 1_000;
      for (;;) {
        const ran = await run(['exec', name, 'sh', '-c', command], { check: false });
        if (until(ran.stdout, ran.code)) return ran.stdout;
        if (Date.now() > deadline) {
          throw new Error(
            `after ${seconds} s, ${command} ended with ${ran.code}:\n${ran.stdout}\n${ran.stderr}`,
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    reboot: async (up) => {
      await execa(script, ['reboot', name, ...(up === undefined ? [] : [String(up)])], { stdin: 'ignore' });
    },
    stop: async () => {
      for (const child of running) child.kill();
      rmSync(scratch, { recursive: true, force: true });
      await execa(script, ['stop', name], { stdin: 'ignore' });
    },
  };
  return host;
}
