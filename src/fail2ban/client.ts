import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkSet } from '../audit/address.js';
import { AuditdError, asRoot } from '../errors.js';
import { installFail2ban, renewJail, sentence } from '../next-steps.js';
import { hostInstant } from './host-time.js';

/** The status of a jail, as fail2ban reports it. */
export interface JailStatus {
  /** Addresses, and with `ipv6_prefix` networks, in the order of their bans. */
  readonly banned: readonly string[];
  /** Addresses with failures that have not led to a ban yet. */
  readonly currentlyFailed: number;
  /** Failures counted since fail2ban's start. */
  readonly totalFailed: number;
  /** Bans since fail2ban's start, those restored at its start included. */
  readonly totalBanned: number;
  readonly logFiles: readonly string[];
}

export interface JailReport {
  readonly status: JailStatus;
  readonly bans: readonly Ban[];
}

export interface Ban {
  readonly address: string;
  /** ISO 8601, UTC; null if fail2ban did not report it. */
  readonly since: string | null;
  /** Null: for ever. */
  readonly until: string | null;
}

/** Runs a program, with text for its standard input. Tests put their own function in its place. */
export type Run = (
  program: string,
  args: readonly string[],
  input?: string,
) => Promise<{
  exitCode?: number | undefined;
  stdout: string;
  stderr: string;
  code?: string;
  timedOut?: boolean;
}>;

const TIMEOUT_MS = 10_000;
/** Of a program's output; 100,000 bans with their times are 7 MB. */
const MOST_OUTPUT = 100 * 2 ** 20;

/** Times out after 10 s. */
export const spawn: Run = (program, args, input) =>
  new Promise((resolve) => {
    const options = {
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: MOST_OUTPUT,
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    } as const;
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      const said = { stdout: withoutLastNewline(stdout), stderr: withoutLastNewline(stderr) };
      if (error === null) resolve({ exitCode: 0, ...said });
      else if (typeof error.code === 'number') resolve({ exitCode: error.code, ...said });
      else if (typeof error.code === 'string') resolve({ code: error.code, ...said });
      else resolve({ timedOut: error.killed === true, ...said });
    });
    child.stdin?.on('error', () => undefined); // it may have ended before
    child.stdin?.end(input);
  });

function withoutLastNewline(text: string): string {
  return text.replace(/\r?\n$/, '');
}

/** Needs root, as fail2ban's socket does. @throws AuditdError FAIL2BAN_FAILED */
export async function fail2banStatus(jail: string, run: Run = spawn): Promise<JailStatus> {
  return parseStatus(await client(jail, ['status', jail], run));
}

/** The bans with their times. @throws AuditdError FAIL2BAN_FAILED */
export async function fail2banBans(jail: string, run: Run = spawn): Promise<Ban[]> {
  return parseBans(await client(jail, ['get', jail, 'banip', '--with-time'], run));
}

/** What fail2ban-client writes before it reads a command in its interactive mode. */
const PROMPT = 'fail2ban> ';

/**
 * The status and the bans, by one process: most of its time goes into loading Python. Where its interactive mode does not answer as expected, they
 * are asked for one at a time. @throws AuditdError FAIL2BAN_FAILED
 */
export async function fail2banReport(jail: string, run: Run = spawn): Promise<JailReport> {
  const answers = /^[\w.-]+$/.test(jail) ? await interactive(jail, run) : null;
  if (answers !== null) return { status: parseStatus(answers.status), bans: parseBans(answers.bans) };
  return { status: await fail2banStatus(jail, run), bans: await fail2banBans(jail, run) };
}

/** The answers to both commands; null if there are others. */
async function interactive(jail: string, run: Run): Promise<{ status: string; bans: string } | null> {
  const commands = [`status ${jail}`, `get ${jail} banip --with-time`, 'exit', ''];
  const { exitCode, stdout } = await run('fail2ban-client', ['-i'], commands.join('\n'));
  const [, status = '', bans = '', ...rest] = stdout.split(PROMPT);
  const complete = exitCode === 0 && rest.join('').trim() === '' && rest.length === 1;
  if (!complete || !status.startsWith('Status for the jail') || !isBans(bans)) return null;
  return { status, bans };
}

/** Whether each line begins with an address or network. An error is a sentence. */
function isBans(text: string): boolean {
  return text.split('\n').every((line) => line === '' || isIP(line.split(/[\s/]/)[0] ?? '') !== 0);
}

/**
 * Lifts the ban on an address or network, or on the networks that the address is in.
 *
 * @param about called with each ban before it is lifted
 * @returns what was unbanned; empty if there was no such ban
 * @throws AuditdError USAGE if `address` is neither; FAIL2BAN_FAILED
 */
export async function unban(
  jail: string,
  address: string,
  run: Run = spawn,
  about: (ban: string) => void = () => undefined,
): Promise<string[]> {
  requireAddress(address);
  const { banned } = await fail2banStatus(jail, run);
  const hit = bansOn(address, banned);
  for (const ban of hit) about(ban);
  if (hit.length > 0) await client(jail, ['set', jail, 'unbanip', ...hit], run);
  return hit;
}

/** @throws AuditdError USAGE if it is neither an address nor a network */
export function requireAddress(text: string): void {
  if (isIP(text.split('/')[0] ?? '') !== 0) return;
  throw new AuditdError('USAGE', `${JSON.stringify(text)} is not an address`, {
    next: 'Give one as `postern-auditd bans` lists it',
  });
}

/** Describes what was lifted. Whoever requested an address has to know that its whole network was banned. */
export function liftedWords(address: string, lifted: readonly string[], where = ''): string {
  return lifted
    .map((ban) =>
      ban === address
        ? `${ban} is no longer banned${where}`
        : `${ban}, the network of ${address}, is no longer banned${where}`,
    )
    .join('; ');
}

/** The bans on this address or network, or on networks that contain the address. */
export function bansOn(address: string, banned: readonly string[]): string[] {
  const [base = ''] = address.split('/');
  return banned.filter(
    (entry) => entry === address || (entry.includes('/') && new NetworkSet([entry]).contains(base)),
  );
}

/**
 * Runs the real filter over lines of a log. Returns the address (or network) of each match, in order.
 *
 * @param lines text, each line with its newline
 * @param filter name of a filter that is installed, or path of a filter file
 * @throws AuditdError FAIL2BAN_FAILED, also for a filter that can't be loaded or compiled
 */
export async function testFilter(
  lines: string | Uint8Array,
  filter = 'posternproxy',
  run: Run = spawn,
): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-auditd-'));
  try {
    // A file, not an argument: fail2ban-regex would open a file that a line names, and an argument is limited to 128 KiB.
    const log = join(directory, 'lines.log');
    await writeFile(log, lines, { mode: 0o600 });
    const result = await run('fail2ban-regex', ['-e', 'utf-8', '-o', 'ip', log, filter]);
    const said = `${result.stdout}\n${result.stderr}`;
    // Its exit status is 0 even for a filter that it can't load or compile.
    const words = said.split('\n').filter((line) => line !== '');
    const matched = words.filter((line) => isIP(line.split('/')[0] ?? '') !== 0);
    if (result.code === 'ENOENT')
      throw failed('fail2ban-regex is not installed', sentence(installFail2ban()));
    if (result.exitCode !== 0 || matched.length !== words.length) {
      throw failed(
        `fail2ban-regex could not use the filter ${filter}: ${short(said)}`,
        `${sentence(renewJail())}, which installs the filter`,
      );
    }
    return matched;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function client(jail: string, args: readonly string[], run: Run): Promise<string> {
  const result = await run('fail2ban-client', args);
  if (result.exitCode === 0) return result.stdout;
  if (result.code === 'ENOENT') throw failed('fail2ban is not installed', sentence(installFail2ban()));
  if (result.timedOut === true) {
    throw failed(
      `fail2ban did not answer within ${TIMEOUT_MS / 1_000} s`,
      'See systemctl status fail2ban and /var/log/fail2ban.log',
    );
  }
  throw refusal(jail, `fail2ban-client ${args.join(' ')}`, `${result.stderr}\n${result.stdout}`);
}

/** Turns the output of a failed fail2ban-client into an error. */
export function refusal(jail: string, command: string, said: string): AuditdError {
  if (/Permission denied/i.test(said))
    return failed('fail2ban answers only root', `Run the command ${asRoot()}`);
  if (/does not exist/.test(said)) {
    return failed(
      `fail2ban has no jail ${jail}`,
      `See why with: fail2ban-client -t; then ${renewJail()}, or fail2ban-client reload`,
    );
  }
  if (/Is fail2ban running|Failed to access socket/i.test(said)) {
    return failed(
      'fail2ban is not running',
      'Start it with: systemctl start fail2ban; if it does not stay up, postern-auditd check says why',
    );
  }
  return failed(`${command} failed: ${short(said)}`, 'See /var/log/fail2ban.log');
}

function failed(what: string, next: string): AuditdError {
  return new AuditdError('FAIL2BAN_FAILED', what, { next });
}

function short(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 300);
}

/** Parses the text of `fail2ban-client status JAIL`. @throws AuditdError FAIL2BAN_FAILED if it has another shape */
export function parseStatus(text: string): JailStatus {
  const field = (name: string): string => {
    const found = new RegExp(`^.*- ${name}:[ \\t]*(.*)$`, 'm').exec(text)?.[1];
    if (found === undefined)
      throw failed(`fail2ban-client status does not show "${name}"`, 'Check that fail2ban is 0.11 or newer');
    return found.trim();
  };
  const list = (name: string) =>
    field(name)
      .split(/\s+/)
      .filter((word) => word !== '');
  return {
    banned: list('Banned IP list'),
    currentlyFailed: Number(field('Currently failed')),
    totalFailed: Number(field('Total failed')),
    totalBanned: Number(field('Total banned')),
    logFiles: list('File list'),
  };
}

/** Parses the text of `get JAIL banip --with-time`: `ADDRESS\tSINCE + SECONDS = UNTIL` a line, in the time of the host. */
export function parseBans(text: string, instantOf: (wall: string) => number = hostInstant): Ban[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => {
      const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`;
      const found = new RegExp(`^\\S+\\s+(${time}) \\+ (-?\\d+) = ${time}$`).exec(line);
      const address = line.split(/\s/)[0] ?? line;
      const [begun, seconds] = [instantOf(found?.[1] ?? ''), Number(found?.[2])];
      if (Number.isNaN(begun)) return { address, since: null, until: null };
      const until = seconds < 0 ? null : new Date(begun + seconds * 1_000).toISOString();
      return { address, since: new Date(begun).toISOString(), until };
    });
}
