import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fill } from './backlog.js';
import { MB, Rig, usage } from './rig.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);
const RECEIVER = join(import.meta.dirname, 'receiver.js');
const RSYSLOGD = '/usr/sbin/rsyslogd';

interface Receiver {
  readonly port: number;
  readonly child: ChildProcess;
  /** Seconds from the first message to the last. */
  readonly all: Promise<number>;
}

/** A backlog from the table over TCP to a counting receiver, beside rsyslog sending the same number of ready-made lines. */
export async function syslog(): Promise<void> {
  const rig = new Rig();
  try {
    fill(rig, ROWS);
    const ours = await receiver();
    rig.configure(
      `  siem: { type: syslog, transport: tcp, targets: ["127.0.0.1:${ours.port}"], start: beginning }`,
    );
    const pid = await rig.start();
    const seconds = await ours.all;
    const { cpu, rss } = usage(pid);
    report(
      'syslog over TCP from the table',
      seconds,
      `${cpu.toFixed(1)} s CPU with start, RSS ${(rss / MB).toFixed(0)} MB`,
    );
    ours.child.kill();
    await rsyslog(rig);
  } finally {
    await rig.close();
  }
}

async function rsyslog(rig: Rig): Promise<void> {
  if (!existsSync(RSYSLOGD)) {
    console.log('  rsyslog (peer): not installed');
    return;
  }
  const theirs = await receiver();
  const lines = join(rig.directory, 'lines.log');
  const line = `${JSON.stringify({ message: 'x'.repeat(600) })}\n`;
  writeFileSync(lines, line.repeat(ROWS));
  const config = join(rig.directory, 'rsyslog.conf');
  writeFileSync(
    config,
    `global(workDirectory="${rig.directory}" maxMessageSize="8k")
module(load="imfile")
input(type="imfile" file="${lines}" tag="bench" ruleset="out")
ruleset(name="out") { action(type="omfwd" target="127.0.0.1" port="${theirs.port}" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format") }
`,
  );
  const child = spawn(RSYSLOGD, ['-n', '-iNONE', '-f', config], { stdio: 'ignore' });
  try {
    const seconds = await theirs.all;
    const { cpu, rss } = usage(child.pid ?? 0);
    report(
      '  rsyslog imfile → omfwd (peer, ready-made lines)',
      seconds,
      `${cpu.toFixed(1)} s CPU, RSS ${(rss / MB).toFixed(0)} MB`,
    );
  } finally {
    child.kill('SIGKILL');
    theirs.child.kill();
    rmSync(lines, { force: true });
  }
}

function report(what: string, seconds: number, more: string): void {
  console.log(
    `${what}: ${ROWS} events in ${seconds.toFixed(1)} s = ${Math.round(ROWS / seconds)} events/s; ${more}`,
  );
}

async function receiver(): Promise<Receiver> {
  const child = spawn(process.execPath, [RECEIVER], {
    env: { ...process.env, EXPECTED: String(ROWS) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const [first] = (await once(lines, 'line')) as [string];
  const { port } = JSON.parse(first) as { port: number };
  const all = once(lines, 'line').then(([text]) => (JSON.parse(String(text)) as { seconds: number }).seconds);
  return { port, child, all };
}
