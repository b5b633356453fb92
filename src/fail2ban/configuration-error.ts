import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type Run, spawn } from './client.js';
import { optionsOfJail } from './jail-defaults.js';

/**
 * A mistake in fail2ban's configuration, and whether it keeps fail2ban from starting. Its own test (`-t`) is stricter than a start: the
 * test fails for a jail whose filter or action is missing, and a start only skips that jail. A jail whose log is missing, or a file that
 * can't be parsed, keeps all of fail2ban from starting (measured, 1.0.2 and 1.1.0). A mistake that only shows at run time, such as an
 * expression that does not compile, passes the test and is found in fail2ban's log.
 */
export interface Trouble {
  /** Null if it does not belong to a jail. */
  readonly jail: string | null;
  /** The file to correct; null if it is not known. */
  readonly file: string | null;
  readonly why: string;
  /** False where fail2ban starts without the jail. */
  readonly keepsDown: boolean;
}

/** Bytes at the end of fail2ban's log that are read: a failed start writes the whole configuration there, in one line. */
const LOG_BYTES = 2 ** 20;

const COMMAND = "Command ['server-stream', ";
const FAILED = ' has failed. Received ';

/** The mistakes that fail2ban's own test finds. It needs root: no other user can see all log files. */
export async function configurationTroubles(directory: string, run: Run = spawn): Promise<Trouble[]> {
  const tested = await run('fail2ban-client', ['-t']);
  // A test that timed out on a busy machine has found nothing.
  if (tested.exitCode === 0 || tested.timedOut === true) return [];
  const said = entries(`${tested.stderr}\n${tested.stdout}`).filter(
    ({ level, text }) => level !== 'WARNING' && !text.startsWith('ERROR: test configuration failed'),
  );
  const fatal = said.flatMap(({ text }) => /^Failed during configuration: (.*)$/.exec(text)?.[1] ?? []);
  if (fatal.length > 0) return fatal.map((why) => ({ ...placeOf(why, directory), keepsDown: true }));
  const skipped = said.flatMap(({ text }, at) => {
    const jail = /^Errors in jail '([^']+)'/.exec(text)?.[1];
    return jail === undefined ? [] : [{ jail, why: said[at - 1]?.text ?? text }];
  });
  // A start fails if it would skip every jail. Like a start, `-d` skips jails with mistakes.
  const read = skipped.length === 0 ? null : await run('fail2ban-client', ['-d']);
  const keepsDown = read === null || (read.exitCode !== 0 && read.timedOut !== true);
  if (skipped.length === 0) {
    const why = said.map(({ text }) => text).join('; ') || 'fail2ban-client -t fails without a message';
    return [{ jail: null, file: null, why, keepsDown }];
  }
  return skipped.map(({ jail, why }) => ({ jail, why, file: fileOf(directory, jail), keepsDown }));
}

/** Why fail2ban's last start failed, according to its log; null if the log does not tell. */
export async function lastStartTrouble(directory: string, run: Run = spawn): Promise<Trouble | null> {
  const { stdout } = await run('fail2ban-client', ['-d']);
  const log = /^\['set', 'logtarget', '(\/[^']+)'\]/m.exec(stdout)?.[1];
  const lines = entries(log === undefined ? '' : tailOf(log));
  const start = lines.findLastIndex(({ text }) => /^Starting Fail2ban /.test(text));
  const since = lines.slice(start + 1);
  const failed = since.findIndex(({ text }) => failureIn(text) !== null);
  if (failed === -1) return null;
  // Jails are created one after the other: the last one is the one that failed.
  const made = since
    .slice(0, failed)
    .flatMap(({ text }) => /^Creating new jail '([^']+)'/.exec(text)?.[1] ?? []);
  const jail = made.at(-1) ?? null;
  const why = short(failureIn(since[failed]?.text ?? '') ?? '').replace(/^["']|["']$/g, '');
  return { jail, file: jail === null ? null : fileOf(directory, jail), why, keepsDown: true };
}

/** The text of the exception that made fail2ban reject the configuration, without its name; null if the line has none. */
function failureIn(text: string): string | null {
  const at = text.startsWith(COMMAND) ? text.lastIndexOf(FAILED) : -1;
  if (at === -1) return null;
  return text
    .slice(at + FAILED.length)
    .replace(/^\w+\(/, '')
    .replace(/\)$/, '');
}

/** Describes the mistake: which jail, in which file, and what. */
export function troubleWords({ jail, file, why }: Trouble): string {
  const where = file === null || why.includes(file) ? '' : jail === null ? ` in ${file}` : ` (${file})`;
  return jail === null ? `${why}${where}` : `the jail ${jail}${where}: ${why}`;
}

function placeOf(why: string, directory: string): { jail: string | null; file: string | null; why: string } {
  const log = /^Have not found any log file for (\S+) jail/.exec(why)?.[1];
  if (log !== undefined) {
    const path = optionsOfJail(directory, log).get('logpath')?.value;
    const which = path === undefined || path.includes('%(') ? '' : ` (logpath ${short(path)})`;
    return { jail: log, file: fileOf(directory, log), why: `none of its log files exists${which}` };
  }
  const section = /\bin section '([^']+)'/.exec(why)?.[1];
  const jail = section === undefined || section === 'DEFAULT' ? null : section;
  const named = /(?:\bfile: |reading from )'([^']+)'/.exec(why)?.[1] ?? null;
  return { jail, file: named ?? (jail === null ? null : fileOf(directory, jail)), why: short(why) };
}

/** The file that enables the jail. fail2ban reads its files in order, and the last value counts. */
function fileOf(directory: string, jail: string): string | null {
  const options = optionsOfJail(directory, jail);
  return options.get('enabled')?.file ?? [...options.values()].at(-1)?.file ?? null;
}

interface Entry {
  readonly level: string;
  readonly text: string;
}

/** fail2ban's lines without time and process. A line without these continues the line before. */
function entries(text: string): Entry[] {
  const found: Array<{ level: string; text: string }> = [];
  for (const line of text.split('\n')) {
    const start = /^\d{4}-\d\d-\d\d [\d:,]+ fail2ban\S* +\[\d+\]: ([A-Z]+) (.*)/s.exec(line);
    const last = found.at(-1);
    if (start !== null) found.push({ level: start[1] ?? '', text: (start[2] ?? '').trim() });
    else if (last !== undefined && line.trim() !== '') last.text += ` ${line.trim()}`;
  }
  return found;
}

function tailOf(path: string): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return '';
  }
  try {
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(Math.min(size, LOG_BYTES));
    readSync(file, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8');
  } finally {
    closeSync(file);
  }
}

function short(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 300 ? `${line.slice(0, 299)}…` : line;
}
