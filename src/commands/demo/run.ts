import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { controlRequest } from '../../control/client.js';
import { AuditdError } from '../../errors.js';
import { testFilter } from '../../fail2ban/client.js';
import { ROOT } from '../../installation.js';
import Database from '../../load-sqlite.js';
import { createAuditTable, createRecorder } from '../../recorder/recorder.js';
import { attack, day, moment, VICTIM } from './scenario.js';

// A small, busy host is slow.
const START_LIMIT_MS = 120_000;
/** The product page: 5 failures from one address within 10 minutes. */
const FAILURES_TO_BAN = 5;
const FILTER = join(ROOT, 'fail2ban/filter.d/posternproxy.conf');
const CLI = join(ROOT, 'dist/cli.js');
/** How to call this program again: in a clone only npx knows its name, and only in its directory. */
const COMMAND = existsSync(join(ROOT, 'src')) ? 'npx postern-auditd' : 'postern-auditd';

interface AuditLine {
  readonly '@timestamp': string;
  readonly event: { readonly action: string; readonly sequence: number };
  readonly source?: { readonly ip: string };
  readonly message: string;
  readonly postern: { readonly source: string };
}

/** Plays the demo on the terminal. @throws AuditdError if the daemon does not come up */
export async function runDemo({
  keep,
  directory,
}: {
  keep: boolean;
  directory: string | null;
}): Promise<void> {
  const root = directory === null ? mkdtempSync(join(tmpdir(), 'postern-auditd-demo-')) : resolve(directory);
  mkdirSync(root, { recursive: true });
  const database = join(root, 'posternproxy.db');
  const db = new Database(database);
  db.pragma('journal_mode = WAL');
  createAuditTable(db);
  const recorder = createRecorder(db);
  const config = writeConfig(root, database);

  say(`1. A Postern database with a day of an administrator: ${database}`);
  const entries = day(Date.now());
  db.transaction(() => {
    for (const entry of entries) recorder.record(entry);
  })();

  say('2. The daemon, as systemd would run it:');
  say(`     ${commandFor('run', config)}`);
  const daemon = spawn(process.execPath, [CLI, 'run', '--config', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    await running(daemon, join(root, 'control.sock'));
    say('3. A brute-force attack, now, one guess every 100 ms:');
    for (const entry of attack()) {
      recorder.record(entry);
      await sleep(100);
    }
    await shipped(join(root, 'control.sock'), db);
    showAudit(root);
    await showBans(root);
    showNext(root, config, Number(db.prepare('SELECT max(id) FROM audit_log').pluck().get()), keep);
    if (keep) await traffic(recorder.record);
    else
      say(
        `Done. The daemon stops now; --keep would leave it running. Delete the files with: rm -r ${quoted(root)}`,
      );
  } finally {
    await end(daemon);
    db.close();
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Each command works in a shell in this directory; `status` and `tail` need a running daemon. */
function showNext(root: string, config: string, row: number, keep: boolean): void {
  say('');
  say(keep ? 'Where to look next, in another terminal:' : 'Where to look next:');
  say(`     tail -n 3 ${quoted(join(root, 'audit/current.log'))}`);
  say('       every event, one line of JSON each (Elastic Common Schema)');
  say(`     tail -n 3 ${quoted(join(root, 'auth/fail2ban.0.log'))}`);
  say('       what fail2ban reads: fresh failed logins only');
  say(`     ${commandFor(`explain ${row}`, config)}`);
  say('       where an event has gone, where not, and why');
  if (keep) {
    say(`     ${commandFor('status', config)}`);
    say('       how far each sink has got');
    say(`     ${commandFor('tail', config)}`);
    say('       events as they come, until Ctrl-C');
  }
  if (process.cwd() === ROOT) {
    say('     sudo ./install.sh --dry-run');
    say('       what the real thing would do, on a host with Postern');
  }
}

function commandFor(command: string, config: string): string {
  return `${COMMAND} ${command} --config ${quoted(config)}`;
}

/** For a shell. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

function writeConfig(root: string, database: string): string {
  const path = join(root, 'config.yml');
  writeFileSync(
    path,
    `server: demo
source: { database: ${JSON.stringify(database)} }
state: ${JSON.stringify(join(root, 'state'))}
control: ${JSON.stringify(join(root, 'control.sock'))}
log: { level: warn }
min_free: 16M
sinks:
  audit: { type: file, directory: ${JSON.stringify(join(root, 'audit'))}, group: null }
  auth: { type: fail2ban, directory: ${JSON.stringify(join(root, 'auth'))}, group: null }
fail2ban: { bans: ${JSON.stringify(join(root, 'bans.log'))} }
api: { enabled: false }
`,
  );
  return path;
}

async function running(daemon: ChildProcess, control: string): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  for (;;) {
    if (daemon.exitCode !== null)
      throw new AuditdError('NOT_RUNNING', `The daemon stopped at once (exit code ${daemon.exitCode})`, {
        next: 'Read its messages above',
      });
    try {
      await controlRequest(control, 'GET', '/status');
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

type Ids = Record<string, { id: number }>;

async function shipped(control: string, db: Database): Promise<void> {
  const last = Number(db.prepare('SELECT max(id) FROM audit_log').pluck().get());
  const deadline = Date.now() + START_LIMIT_MS;
  for (;;) {
    const { sinks } = (await controlRequest(control, 'GET', '/status')) as {
      sinks: Record<string, { cursors: Ids; looks?: Ids }>;
    };
    if (Object.values(sinks).every(({ cursors, looks }) => ((looks ?? cursors).postern?.id ?? 0) >= last))
      return;
    if (Date.now() > deadline)
      throw new AuditdError('SINK_FAILED', `Not all rows were written within ${START_LIMIT_MS / 1000} s`, {
        next: "Read the daemon's messages above",
      });
    await sleep(50);
  }
}

/** JSON.stringify escapes again what the file escaped: a terminal must not get control characters from a log. */
function showAudit(root: string): void {
  const lines = readFileSync(join(root, 'audit', 'current.log'), 'utf8')
    .trim()
    .split('\n');
  say(`4. Written to audit/: ${lines.length} lines. The last ones:`);
  for (const text of lines.slice(-8)) {
    const line = JSON.parse(text) as AuditLine;
    const time = line['@timestamp'].slice(11, 19);
    const who = JSON.stringify(line.message).slice(1, -1).slice(0, 60);
    say(`     ${time}  ${line.event.action.padEnd(20)} ${(line.source?.ip ?? '-').padEnd(15)} ${who}`);
  }
}

async function showBans(root: string): Promise<void> {
  const text = [0, 1]
    .map((n) => join(root, 'auth', `fail2ban.${n}.log`))
    .filter((path) => existsSync(path))
    .map((path) => readFileSync(path, 'utf8'))
    .join('');
  let addresses: string[];
  let by = 'the real fail2ban-regex with the shipped filter';
  try {
    addresses = await testFilter(text, FILTER);
  } catch {
    by = 'their source.ip (fail2ban is not installed here; with it, its own engine is asked)';
    addresses = text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as AuditLine).source?.ip)
      .filter((ip) => ip !== undefined);
  }
  const counts = new Map<string, number>();
  for (const address of addresses) counts.set(address, (counts.get(address) ?? 0) + 1);
  say(`5. Written to auth/ for fail2ban: ${addresses.length} failures, counted by ${by}:`);
  for (const [address, count] of counts) {
    say(
      `     ${address.padEnd(15)} ${count} failures → ${count >= FAILURES_TO_BAN ? 'would be banned for 1 hour' : 'not banned'}`,
    );
  }
  say(
    `     ${VICTIM.padEnd(15)} ${counts.get(VICTIM) ?? 0} failures: the last guess had a user name that forges a log line for this address`,
  );
  say("     anna's wrong password of this morning is no fresh failure, so it is not in the file");
}

async function traffic(record: (entry: ReturnType<typeof moment>) => number): Promise<void> {
  say('Running, with an event a second, until Ctrl-C.');
  let going = true;
  process.once('SIGINT', () => {
    going = false;
  });
  for (let n = 0; going; n++) {
    record(moment(n));
    await sleep(1_000);
  }
}

async function end(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const ended = new Promise((done) => daemon.once('exit', done));
  daemon.kill('SIGTERM');
  await ended;
}
