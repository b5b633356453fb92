import { Command, CommanderError } from 'commander';
import { AuditdError, type ErrorCode } from '../errors.js';
import { VERSION } from '../version.js';
import { register as bans } from './bans.js';
import { register as check } from './check.js';
import { register as config } from './config.js';
import { register as configure } from './configure.js';
import { register as demo } from './demo.js';
import { register as facts } from './facts.js';
import { register as jail } from './jail.js';
import { register as run } from './run.js';
import { register as status } from './status.js';
import { register as unban } from './unban.js';

/** Exit codes, as docs/CLI.md has them. 78 is EX_CONFIG of sysexits.h. */
const EXIT_CODES: Readonly<Partial<Record<ErrorCode, number>>> = {
  USAGE: 2,
  NOT_RUNNING: 3,
  CONFIG_INVALID: 78,
  CONFIG_MISSING: 78,
};

/** The command with all its sub-commands; a new one docks here. */
export function createProgram(): Command {
  const program = new Command('postern-auditd')
    .description(
      "Audit daemon of Postern Proxy: from the table audit_log to fail2ban, a SIEM and people's eyes",
    )
    .version(VERSION)
    .option('--debug', 'print the stack of an error')
    .exitOverride()
    .showHelpAfterError('(postern-auditd --help says more)');
  for (const register of [run, check, status, bans, unban, config, configure, jail, demo, facts])
    register(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}

/** Prints what went wrong and returns the exit code. */
export function report(error: unknown, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed it
  if (error instanceof AuditdError) {
    process.stderr.write(`postern-auditd: ${error.message}\n`);
    if (debug) process.stderr.write(`${error.stack ?? ''}\n`);
    return EXIT_CODES[error.code] ?? 1;
  }
  process.stderr.write(
    `postern-auditd: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return 1;
}
