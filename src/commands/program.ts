import { Command, CommanderError, Option } from 'commander';
import { visibleLines } from '../audit/unsafe-characters.js';
import { AuditdError, type ErrorCode, messageOf } from '../errors.js';
import { instanceOfConfig, useInstance } from '../instance.js';
import { VERSION } from '../version.js';
import { registerArchive as archive } from './archive.js';
import { registerBackup as backup } from './backup.js';
import { registerBans as bans } from './bans.js';
import { registerCheck as check } from './check.js';
import { registerCompletion as completion } from './completion.js';
import { registerConfig as config } from './config.js';
import { registerConfigure as configure } from './configure.js';
import { registerIndexTable as indexTable } from './create-indexes.js';
import { registerDemo as demo } from './demo.js';
import { registerExplain as explain } from './explain.js';
import { registerExport as exportEntries } from './export.js';
import { registerFleet as fleet } from './fleet.js';
import { registerFacts as facts } from './install-facts.js';
import { registerJail as jail } from './jail.js';
import { registerNotify as notify } from './notify.js';
import { registerPurger as purger } from './purge-service.js';
import { registerQuery as query } from './query.js';
import { registerReload as reload } from './reload.js';
import { registerReplay as replay } from './replay.js';
import { registerRetain as retain } from './retain.js';
import { registerRun as run } from './run.js';
import { registerSetup as setup } from './setup.js';
import { registerStats as stats } from './stats.js';
import { registerStatus as status } from './status.js';
import { registerTail as tail } from './tail.js';
import { registerToken as token } from './token.js';
import { registerUnban as unban } from './unban.js';

/** Exit codes, as docs/reference/CLI.md has them; 1 for all others. 78 is EX_CONFIG of sysexits.h. */
const EXIT_CODES: Readonly<Partial<Record<ErrorCode, number>>> = {
  USAGE: 2,
  NOT_RUNNING: 3,
  CONFIG_INVALID: 78,
  CONFIG_MISSING: 78,
};

/** The subcommands in the groups of the help; a new one is added here. */
const GROUPS: ReadonlyArray<readonly [string, ReadonlyArray<(program: Command) => void>]> = [
  ['Daemon:', [run, status, reload, replay, notify, retain]],
  ['Inspect:', [check, explain, tail, query, exportEntries, stats]],
  ['Retention:', [archive]],
  ['Backup:', [backup]],
  ['Bans:', [bans, unban, jail]],
  ['API:', [token]],
  ['Configuration:', [setup, config, configure]],
  ['Fleet:', [fleet]],
  ['More:', [indexTable, demo, completion, facts, purger]],
];

/**
 * The command with all its sub-commands. Each loads what it needs in its action and not before: the
 * help and a misspelt option come at once.
 */
export function createProgram(): Command {
  const program = new Command('postern-auditd')
    .description('Audit-log shipper and fail2ban integration for Postern Proxy')
    .version(VERSION, '-V, --version', 'print the version')
    .option('--debug', 'print the stack of an error')
    .option('--instance <name>', 'the daemon of another database on this host: postern-auditd@NAME')
    .hook('preAction', (_program, command) => chooseInstance(command))
    .helpOption('-h, --help', 'print this help')
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .exitOverride()
    .showHelpAfterError('(see postern-auditd --help)')
    .addHelpText(
      'after',
      `
Help for one command, with examples: postern-auditd check --help
Documentation: docs/reference/CLI.md, docs/reference/CONFIGURATION.md`,
    );
  for (const [group, registers] of GROUPS) {
    program.commandsGroup(group);
    for (const register of registers) register(program);
  }
  program.helpCommand('help [command]', 'Print the help of a command');
  for (const command of program.commands) prepare(command, `postern-auditd ${command.name()}`);
  return program;
}

/** Adds what every command and subcommand has. */
function prepare(command: Command, path: string): void {
  command
    .helpOption('-h, --help', 'print this help')
    .addOption(new Option('--debug').hideHelp())
    .addOption(new Option('--instance <name>').hideHelp())
    .exitOverride()
    .showHelpAfterError(`(see ${path} --help)`);
  if (command.commands.length > 0)
    command
      .helpCommand('help [command]', 'Print the help of a command')
      .configureHelp({ subcommandTerm: (sub) => sub.name() });
  for (const sub of command.commands) prepare(sub, `${path} ${sub.name()}`);
}

/** The instance of --instance, or of a --config that is an instance's. */
function chooseInstance(command: Command): void {
  const { instance, config } = command.optsWithGlobals<{ instance?: string; config?: unknown }>();
  const named = typeof config === 'string' ? instanceOfConfig(config) : null;
  if (instance !== undefined) useInstance(instance, command.name() === 'setup');
  else if (named !== null) useInstance(named, true);
}

/** Prints what went wrong and returns the exit code. */
export function report(error: unknown, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has printed it
  const known = error instanceof AuditdError;
  const next = known ? '' : '. This is a bug: please report it with the output of --debug';
  process.stderr.write(`postern-auditd: ${visibleLines(messageOf(error))}${next}\n`);
  if (debug && error instanceof Error) process.stderr.write(`${visibleLines(error.stack ?? '')}\n`);
  return known ? (EXIT_CODES[error.code] ?? 1) : 1;
}
