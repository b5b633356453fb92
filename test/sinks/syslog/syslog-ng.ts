import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from './certificates.js';
import { LineFile } from './line-file.js';

const PACKAGE = 'syslog-ng-core';
let unpacked = '';

function output(command: string, args: readonly string[], cwd?: string): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
}

function isInstalled(name: string): boolean {
  try {
    return output('dpkg-query', ['-s', name]).includes('\nStatus: install ok installed\n');
  } catch {
    return false;
  }
}

/** The package excludes rsyslog, so it is unpacked beside it, with the libraries that are not installed. */
function unpack(): string {
  const options = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (kind) => `--no-${kind}`,
  );
  const depends = output('apt-cache', ['depends', '--recurse', ...options, PACKAGE]);
  const libraries = new Set(
    [...depends.matchAll(/^ +\|?Depends: (lib[a-z0-9.+-]+)$/gm)].map((match) => match[1] ?? ''),
  );
  // Debian 13 depends on some by an old name that no package has any more, but another one provides.
  const policy = output('apt-cache', ['policy', ...libraries]);
  const real = new Set(
    [...policy.matchAll(/^(\S+):\n.*\n {2}Candidate: (?!\(none\))/gm)].map((match) => match[1] ?? ''),
  );
  const wanted = [PACKAGE, ...[...libraries].filter((name) => real.has(name) && !isInstalled(name))];
  const directory = mkdtempSync(join(tmpdir(), 'postern-unpacked-'));
  try {
    output('apt-get', ['download', ...wanted], directory);
    for (const name of readdirSync(directory)) {
      if (!name.endsWith('.deb')) continue;
      output('dpkg', ['-x', name, '.'], directory);
      rmSync(join(directory, name));
    }
    return directory;
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

/** For `afterAll`. */
export function removeSyslogNg(): void {
  if (unpacked !== '') rmSync(unpacked, { recursive: true, force: true });
}

/** True where tests against syslog-ng can't run; says so, and lets them fail where they must run. */
export function withoutSyslogNg(): boolean {
  try {
    unpacked = unpack();
    return false;
  } catch (error) {
    const what = `syslog-ng can't be unpacked: ${error instanceof Error ? error.message : error}`;
    if (process.env.CI !== undefined) throw new Error(what);
    console.warn(`SKIPPED: ${what}`);
    return true;
  }
}

export interface SyslogNgPorts {
  readonly udp: number;
  /** `network()`: a message a line. */
  readonly network: number;
  /** `syslog()`: counted. */
  readonly syslog: number;
  readonly tls: number;
  /** A message a line, of which the file has what json-parser finds. */
  readonly json: number;
}

export type SyslogNgInput = keyof SyslogNgPorts | 'datagram' | 'stream';

/** A real syslog-ng in the foreground that writes what each of its sources got to a file of its own, byte by byte. */
export class SyslogNg {
  private readonly directory = mkdtempSync(join(tmpdir(), 'postern-syslog-ng-'));
  readonly datagramSocket = this.at('datagram');
  readonly streamSocket = this.at('stream');
  private readonly files = new Map<SyslogNgInput, LineFile>();
  private process: ChildProcess | null = null;

  constructor(
    private readonly ports: SyslogNgPorts,
    private readonly server: Identity,
    private readonly ca: string,
  ) {}

  async start(): Promise<void> {
    writeFileSync(this.at('syslog-ng.conf'), this.configuration());
    const own = join(unpacked, 'usr/lib/syslog-ng');
    const modules = readdirSync(own).find((name) => /^\d/.test(name)) ?? '';
    const shared = readdirSync(join(unpacked, 'usr/lib'))
      .filter((name) => name.includes('-linux-'))
      .flatMap((name) => [join(unpacked, 'usr/lib', name), join(unpacked, 'lib', name)]);
    const args = ['-F', '--no-caps', '-f', this.at('syslog-ng.conf'), `--module-path=${join(own, modules)}`];
    const files = [
      `--persist-file=${this.at('persist')}`,
      `--pidfile=${this.at('pid')}`,
      `--control=${this.at('control')}`,
    ];
    const child = spawn(join(unpacked, 'usr/sbin/syslog-ng'), [...args, ...files], {
      env: { ...process.env, LD_LIBRARY_PATH: [own, ...shared].join(':') },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.process = child;
    let said = '';
    child.stderr.on('data', (data: Buffer) => {
      said += data.toString();
    });
    for (let tries = 0; tries < 1_000; tries++) {
      if (child.exitCode !== null) throw new Error(`syslog-ng ended: ${said}`);
      if (existsSync(this.streamSocket) && existsSync(this.datagramSocket) && this.listens(child.pid)) return;
      await sleep(10);
    }
    throw new Error(`syslog-ng does not listen: ${said}`);
  }

  lines(input: SyslogNgInput): readonly string[] {
    const file = this.files.get(input) ?? new LineFile(this.at(`${input}.log`));
    this.files.set(input, file);
    return file.read();
  }

  async close(): Promise<void> {
    const { process } = this;
    if (process !== null && process.exitCode === null) {
      const gone = new Promise((resolve) => process.once('exit', resolve));
      process.kill('SIGKILL');
      await gone;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  private at(name: string): string {
    return join(this.directory, name);
  }

  private listens(pid: number | undefined): boolean {
    const table = readFileSync(`/proc/${pid}/net/tcp`, 'latin1');
    return [this.ports.network, this.ports.syslog, this.ports.tls, this.ports.json].every((port) =>
      table.includes(`:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A `),
    );
  }

  private configuration(): string {
    const { udp, network, syslog, tls } = this.ports;
    const raw = 'flags(store-raw-message) log-iw-size(20000)';
    const here = 'ip("127.0.0.1")';
    const files = `key-file("${this.server.key}") cert-file("${this.server.cert}") ca-file("${this.ca}") peer-verify(required-trusted)`;
    const sources: Record<Exclude<SyslogNgInput, 'json'>, string> = {
      udp: `network(${here} port(${udp}) transport("udp") so-rcvbuf(16777216) ${raw})`,
      network: `network(${here} port(${network}) transport("tcp") ${raw})`,
      syslog: `syslog(${here} port(${syslog}) transport("tcp") ${raw})`,
      tls: `syslog(${here} port(${tls}) transport("tls") tls(${files}) ${raw})`,
      datagram: `unix-dgram("${this.datagramSocket}" ${raw})`,
      stream: `unix-stream("${this.streamSocket}" ${raw})`,
    };
    const routes = Object.entries(sources).map(
      ([name, source]) =>
        `log { source { ${source}; }; destination { file("${this.at(`${name}.log`)}" template("\${RAWMSG}\\n")); }; flags(flow-control); };`,
    );
    // What json-parser finds in a body, of the messages of one source.
    routes.push(
      `log { source { network(${here} port(${this.ports.json}) transport("tcp") flags(syslog-protocol) log-iw-size(20000)); }; parser { json-parser(prefix("found.")); }; destination { file("${this.at('json.log')}" template("$(format-json --key found.*)\\n")); }; flags(flow-control); };`,
    );
    return `@version: 3.38\noptions { keep-hostname(yes); log-msg-size(65536); stats-freq(0); use-dns(no); };\n${routes.join('\n')}\n`;
  }
}
