import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Authority, HERE, type Identity } from './certificates.js';
import { LineFile } from './line-file.js';
import { freePorts } from './receivers.js';

const MODULES = '/usr/lib/x86_64-linux-gnu/rsyslog';
const NEEDED = [
  'imrelp.so',
  'imptcp.so',
  'imtcp.so',
  'imudp.so',
  'imuxsock.so',
  'lmnsd_gtls.so',
  'lmnsd_ossl.so',
];

/** Empty if rsyslog and its modules are installed, else what is missing. */
function missing(): string[] {
  const directories = [
    MODULES,
    '/usr/lib/aarch64-linux-gnu/rsyslog',
    '/usr/lib64/rsyslog',
    '/usr/lib/rsyslog',
  ];
  const modules = directories.find((directory) => existsSync(directory)) ?? MODULES;
  const absent = NEEDED.filter((name) => !existsSync(join(modules, name)));
  return existsSync('/usr/sbin/rsyslogd') ? absent : ['rsyslogd', ...absent];
}

/** True where tests against rsyslog can't run; says so, and lets them fail where they must run. */
export function withoutRsyslog(): boolean {
  const absent = missing();
  if (absent.length === 0) return false;
  const what = `rsyslog is not installed as test/sinks/syslog/packages.txt wants it (${absent.join(', ')})`;
  if (process.env.CI !== undefined) throw new Error(what);
  console.warn(`SKIPPED: ${what}`);
  return true;
}

/** Where the inputs of a test's rsyslogd listen. */
export interface Ports {
  readonly udp: number;
  readonly tcp: number;
  readonly tls: number;
  readonly relp: number;
  readonly relpTls: number;
}

export type RsyslogInput = keyof Ports | 'datagram' | 'stream';

export function freeRsyslogPorts(): Promise<Ports> {
  return freePorts('udp', 'tcp', 'tls', 'relp', 'relpTls');
}

export interface RsyslogOptions {
  readonly ports: Ports;
  readonly server: Identity;
  readonly ca: string;
  /** `Direct` processes a message before it is acknowledged; `default` leaves the main queue as it is without a word: in memory. */
  readonly queue?: 'Direct' | 'default';
  /** A network namespace and the address in it; 127.0.0.1 of this one if left out. */
  readonly namespace?: { readonly name: string; readonly address: string };
}

/** A real rsyslogd in the foreground, with every input, that writes what each of them got to a file of its own, byte by byte. */
export class Rsyslog {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-rsyslog-'));
  readonly datagramSocket = join(this.directory, 'datagram');
  readonly streamSocket = join(this.directory, 'stream');
  private readonly files = new Map<RsyslogInput, LineFile>();
  private process: ChildProcess | null = null;

  constructor(private readonly options: RsyslogOptions) {
    writeFileSync(join(this.directory, 'rsyslog.conf'), this.configuration());
  }

  async start(): Promise<void> {
    const { ports, namespace } = this.options;
    const daemon = [
      '/usr/sbin/rsyslogd',
      '-n',
      '-f',
      join(this.directory, 'rsyslog.conf'),
      '-i',
      join(this.directory, 'pid'),
    ];
    const inside = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace.name];
    const [command = '', ...args] = [...inside, ...daemon];
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (data: Buffer) => {
      said += data.toString();
    });
    this.process = child;
    const wanted = [ports.tcp, ports.tls, ports.relp, ports.relpTls];
    const table = () => readFileSync(`/proc/${child.pid}/net/tcp`, 'latin1');
    for (let tries = 0; tries < 6_000; tries++) {
      if (child.exitCode !== null) throw new Error(`rsyslogd ended: ${said}`);
      if (wanted.every((port) => isListening(port, table()))) return;
      await sleep(10);
    }
    throw new Error(`rsyslogd does not listen: ${said}`);
  }

  /** What an input got, a message a line. */
  lines(input: RsyslogInput): readonly string[] {
    const file = this.files.get(input) ?? new LineFile(join(this.directory, `${input}.log`));
    this.files.set(input, file);
    return file.read();
  }

  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM'): void {
    this.process?.kill(name);
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    const { process } = this;
    if (process === null || process.exitCode !== null || process.signalCode !== null) return;
    const gone = new Promise((resolve) => process.once('exit', resolve));
    process.kill('SIGKILL');
    await gone;
    this.process = null;
  }

  async close(): Promise<void> {
    this.signal('SIGCONT');
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private configuration(): string {
    const { ports, server, ca, queue = 'Direct', namespace } = this.options;
    const address = `address="${namespace?.address ?? '127.0.0.1'}"`;
    const at = (name: string) => join(this.directory, name);
    const to = (name: string) =>
      `ruleset(name="${name}") { action(type="omfile" name="${name}" file="${at(`${name}.log`)}" template="raw") }\n`;
    const inputs = ['udp', 'tcp', 'tls', 'relp', 'relpTls', 'datagram', 'stream'];
    return `global(workDirectory="${this.directory}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriverCAFile="${ca}" defaultNetstreamDriverCertFile="${server.cert}" defaultNetstreamDriverKeyFile="${server.key}")
${queue === 'default' ? '' : `main_queue(queue.type="${queue}")`}
module(load="imudp")
module(load="imptcp")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.Authmode="anon")
module(load="imrelp" tls.tlslib="openssl")
module(load="imuxsock" SysSock.Use="off")
template(name="raw" type="string" string="%rawmsg%\\n")
${inputs.map(to).join('')}
input(type="imudp" ${address} port="${ports.udp}" rcvbufSize="16m" ruleset="udp")
input(type="imptcp" ${address} port="${ports.tcp}" ruleset="tcp")
input(type="imtcp" ${address} port="${ports.tls}" ruleset="tls")
input(type="imrelp" ${address} port="${ports.relp}" ruleset="relp")
input(type="imrelp" ${address} port="${ports.relpTls}" ruleset="relpTls" tls="on" tls.cacert="${ca}"
  tls.mycert="${server.cert}" tls.myprivkey="${server.key}" tls.authmode="certvalid")
input(type="imuxsock" socket="${this.datagramSocket}" useSpecialParser="off" parseHostname="on" ruleset="datagram")
input(type="imptcp" path="${this.streamSocket}" unlink="on" ruleset="stream")
`;
  }
}

/** One that runs, with its own ports and certificates. */
export class RunningRsyslog extends Rsyslog {
  private constructor(
    readonly authority: Authority,
    readonly ports: Ports,
    queue: RsyslogOptions['queue'],
  ) {
    const server = authority.issue('server', HERE);
    super({ ports, server, ca: authority.cert, ...(queue === undefined ? {} : { queue }) });
  }

  static async start(queue?: RsyslogOptions['queue']): Promise<RunningRsyslog> {
    const running = new RunningRsyslog(new Authority(), await freeRsyslogPorts(), queue);
    await running.start();
    return running;
  }

  override async close(): Promise<void> {
    await super.close();
    this.authority.remove();
  }
}

/** Looks at the kernel's table: a connection just to see would be one more for rsyslog to complain about. */
function isListening(port: number, table: string): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return table.includes(`:${hex} 00000000:0000 0A `);
}
