import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fill } from './backlog.js';
import { MB, Rig, usage } from './bench-fixture.js';
import { addFigure } from './figures.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
/** Lines written at once, as V8's longest string has 512 MB. */
const CHUNK = 100_000;
const RSYSLOGD = '/usr/sbin/rsyslogd';
const IMRELP = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu'].map(
  (lib) => `${lib}/rsyslog/imrelp.so`,
);

interface Receiver {
  readonly port: number;
  readonly child: ChildProcess;
  /** Seconds from the first message to the last. */
  readonly all: Promise<number>;
}

/**
 * A backlog from the table over TCP and RELP to counting receivers, beside rsyslog sending the same number of ready-made lines. It is also
 * sent over RELP to rsyslog, whose speed then counts as much as ours, beside rsyslog's omrelp with the same target.
 */
export async function syslog(): Promise<void> {
  const rig = new Rig();
  try {
    fill(rig, ROWS);
    const ours: Sent[] = [];
    for (const transport of ['tcp', 'relp'] as const) {
      const to = await receiver(transport === 'tcp' ? 'receiver.js' : 'relp-receiver.js');
      ours.push(
        await send(rig, transport, to.port, `${transport.toUpperCase()} to a counting receiver`, to.all),
      );
      to.child.kill();
    }
    const relp = await relpToRsyslog(rig);
    const peer = await rsyslog(rig);
    for (const sent of ours) addFigures(sent, peer);
    if (relp !== null) addFigures(relp.ours, relp.omrelp);
  } finally {
    await rig.close();
  }
}

/** What was sent, by us or by the peer. */
interface Sent {
  readonly what: string;
  /** Events a second. */
  readonly rate: number;
  /** CPU an event in µs, the start included. */
  readonly cpu: number;
  /** Highest resident bytes. */
  readonly peak: number;
}

function addFigures({ what, rate, cpu, peak }: Sent, rsyslogs: Sent | null): void {
  const peer = (value: (sent: Sent) => number) =>
    rsyslogs === null ? {} : { peer: { name: rsyslogs.what, value: value(rsyslogs) } };
  const isTcp = what.startsWith('TCP');
  addFigure({
    name: `${what}: CPU an event, start included`,
    value: cpu,
    unit: 'µs',
    ...(isTcp ? { goal: { atMost: 9 } } : {}),
    ...peer((sent) => sent.cpu),
    bench: 'syslog',
  });
  addFigure({
    name: what,
    value: rate,
    unit: 'events/s',
    ...(what.includes('imrelp') ? { goal: { atLeast: 45_000 } } : {}),
    ...peer((sent) => sent.rate),
    bench: 'syslog',
  });
  addFigure({
    name: `${what}: RSS at most`,
    value: peak / MB,
    unit: 'MB',
    goal: { atMost: 100 },
    ...peer((sent) => sent.peak / MB),
    bench: 'syslog',
  });
}

/** @param to resolves to the seconds from the first message to the last, or a file that gets a byte for each */
async function send(
  rig: Rig,
  transport: string,
  port: number,
  what: string,
  to: Promise<number> | string,
): Promise<Sent> {
  rig.configure(
    `  siem: { type: syslog, transport: ${transport}, targets: ["127.0.0.1:${port}"], start: beginning }`,
  );
  const all = typeof to === 'string' ? secondsToReceive(to) : to;
  const pid = await rig.start();
  const sent = sentBy(pid, what, await all);
  await rig.forget();
  return sent;
}

function sentBy(pid: number, what: string, seconds: number): Sent {
  const { cpu, peak } = usage(pid);
  return { what, rate: ROWS / seconds, cpu: (cpu / ROWS) * 1e6, peak };
}

interface Relp {
  readonly ours: Sent;
  readonly omrelp: Sent;
}

/** From the table to rsyslog, and the same number of ready-made lines from another rsyslog to the same one. */
async function relpToRsyslog(rig: Rig): Promise<Relp | null> {
  if (!existsSync(RSYSLOGD) || !IMRELP.some((path) => existsSync(path))) {
    console.log('RELP to rsyslog: rsyslog-relp is not installed');
    return null;
  }
  const port = await freePort();
  const received = join(rig.directory, 'received');
  writeFileSync(received, '');
  const child = startRsyslog(
    rig,
    'imrelp',
    `main_queue(queue.type="Direct")
module(load="imrelp")
template(name="one" type="string" string=".")
input(type="imrelp" port="${port}" address="127.0.0.1" ruleset="in")
ruleset(name="in") { action(type="omfile" file="${received}" template="one") }
`,
  );
  try {
    const ours = await send(rig, 'relp', port, 'RELP to rsyslog imrelp, direct queue', received);
    return { ours, omrelp: await omrelp(rig, port, received) };
  } finally {
    child.kill('SIGKILL');
  }
}

async function omrelp(rig: Rig, port: number, received: string): Promise<Sent> {
  const lines = readyLines(rig);
  const child = startRsyslog(
    rig,
    'omrelp',
    `module(load="imfile")
module(load="omrelp")
input(type="imfile" file="${lines}" tag="bench" ruleset="out")
ruleset(name="out") { action(type="omrelp" target="127.0.0.1" port="${port}" windowSize="1000" template="RSYSLOG_SyslogProtocol23Format") }
`,
  );
  try {
    const seconds = await secondsToReceive(received);
    return sentBy(child.pid ?? 0, 'rsyslog imfile → omrelp, window 1000, ready-made lines', seconds);
  } finally {
    child.kill('SIGKILL');
    rmSync(lines, { force: true });
  }
}

/** Seconds from the first event to the last one in a file that gets a byte for each. */
async function secondsToReceive(file: string): Promise<number> {
  const before = statSync(file).size;
  const started = performance.now();
  let first = 0;
  for (;;) {
    const count = statSync(file).size - before;
    const now = performance.now();
    if (count > 0 && first === 0) first = now;
    if (count >= ROWS) return (now - first) / 1_000;
    if (now - started > 300_000) throw new Error(`only ${count} events within 300 s`);
    await sleep(10);
  }
}

function startRsyslog(rig: Rig, name: string, rules: string): ChildProcess {
  const config = join(rig.directory, `${name}.conf`);
  writeFileSync(config, `global(workDirectory="${rig.directory}" maxMessageSize="8k")\n${rules}`);
  return spawn(RSYSLOGD, ['-n', '-iNONE', '-f', config], { stdio: 'ignore' });
}

/** A file of lines for rsyslog's imfile. */
function readyLines(rig: Rig): string {
  const file = join(rig.directory, 'lines.log');
  const line = `${JSON.stringify({ message: 'x'.repeat(600) })}\n`;
  writeFileSync(file, '');
  for (let left = ROWS; left > 0; left -= CHUNK) appendFileSync(file, line.repeat(Math.min(left, CHUNK)));
  return file;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function rsyslog(rig: Rig): Promise<Sent | null> {
  if (!existsSync(RSYSLOGD)) {
    console.log('rsyslog (peer): not installed');
    return null;
  }
  const theirs = await receiver('receiver.js');
  const lines = readyLines(rig);
  const child = startRsyslog(
    rig,
    'rsyslog',
    `module(load="imfile")
input(type="imfile" file="${lines}" tag="bench" ruleset="out")
ruleset(name="out") { action(type="omfwd" target="127.0.0.1" port="${theirs.port}" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format") }
`,
  );
  try {
    return sentBy(child.pid ?? 0, 'rsyslog imfile → omfwd, ready-made lines', await theirs.all);
  } finally {
    child.kill('SIGKILL');
    theirs.child.kill();
    rmSync(lines, { force: true });
  }
}

async function receiver(file: string): Promise<Receiver> {
  const child = spawn(process.execPath, [join(import.meta.dirname, file)], {
    env: { ...process.env, EXPECTED: String(ROWS) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const [first] = (await once(lines, 'line')) as [string];
  const { port } = JSON.parse(first) as { port: number };
  const all = once(lines, 'line').then(([text]) => (JSON.parse(String(text)) as { seconds: number }).seconds);
  return { port, child, all };
}
