import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Unpacked } from '../../support/unpacked.js';
import type { Identity } from './certificates.js';
import { LineFile } from './line-file.js';

let unpacked: Unpacked | null = null;

/** For `afterAll`. */
export function removeSyslogNg(): void {
  unpacked?.remove();
}

/** True where tests against syslog-ng can't run; says so, and lets them fail where they must run. */
export function withoutSyslogNg(): boolean {
  unpacked = Unpacked.withLibraries('syslog-ng-core');
  return unpacked === null;
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
    if (unpacked === null) throw new Error('syslog-ng was not unpacked');
    const own = unpacked.at('usr/lib/syslog-ng');
    const modules = readdirSync(own).find((name) => /^\d/.test(name)) ?? '';
    const args = ['-F', '--no-caps', '-f', this.at('syslog-ng.conf'), `--module-path=${join(own, modules)}`];
    const files = [
      `--persist-file=${this.at('persist')}`,
      `--pidfile=${this.at('pid')}`,
      `--control=${this.at('control')}`,
    ];
    const child = spawn(unpacked.at('usr/sbin/syslog-ng'), [...args, ...files], {
      env: { ...process.env, LD_LIBRARY_PATH: unpacked.libraries('usr/lib/syslog-ng') },
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
