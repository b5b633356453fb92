import type { Command } from 'commander';
import { createProgram } from '../../src/commands/program.js';
import { allowed, sections, standard } from '../config/reference.js';

/** The commands that the help shows, but `help` itself; those with sub-commands only if they do something themselves, before those. */
function commands(program: Command): Command[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help')
    .flatMap((command) => [...(isDoer(command) ? [command] : []), ...commands(command)]);
}

/** What only has sub-commands takes nothing itself. */
function isDoer(command: Command): boolean {
  return command.commands.length === 0 || command.options.some(({ hidden }) => !hidden);
}

function nameOf(command: Command): string {
  const { parent } = command;
  return parent === null || parent.parent === null ? command.name() : `${parent.name()} ${command.name()}`;
}

/** The whole help of a command, what stands behind the options included. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
    getOutHelpWidth: () => 100,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trimEnd();
}

/** Every command with its help, as Markdown. */
export function commandReference(): string {
  const program = createProgram();
  return commands(program)
    .map((command) => `### ${nameOf(command)}\n\n\`\`\`\n${helpOf(command)}\n\`\`\``)
    .join('\n\n');
}

/** The manual page, section 1, in man(7). */
export function manual(): string {
  const program = createProgram();
  return [
    '.\\" Made from the help of the commands (test/commands/pages.test.ts); UPDATE_DOCS=1 rewrites it.',
    '.TH POSTERN-AUDITD 1 "" "Postern Proxy" "User Commands"',
    '.SH NAME',
    'postern-auditd \\- audit daemon of Postern Proxy',
    '.SH SYNOPSIS',
    '.B postern-auditd',
    '.I command',
    '.RI [ options ]',
    '.SH DESCRIPTION',
    roff(`${program.description()}.`),
    '.SH COMMANDS',
    ...commands(program).flatMap(section),
    '.SH EXIT STATUS',
    ...tagged([
      ['0', 'The command succeeded; check found no errors.'],
      ['1', 'The command failed, or it found a problem.'],
      ['2', 'The command line is invalid.'],
      ['3', 'The daemon is not running, or does not answer.'],
      ['78', 'The configuration is invalid or missing.'],
    ]),
    '.SH ENVIRONMENT',
    ...tagged([
      ['POSTERN_AUDITD_CONFIG', 'The configuration file, unless --config names one.'],
      [
        'POSTERN_AUDITD_DATABASE, POSTERN_AUDITD_STATE, POSTERN_AUDITD_CONTROL',
        'Paths that override source.database, state and control of the file.',
      ],
      ['NO_COLOR', 'Disables colour, if it is not empty.'],
    ]),
    '.SH FILES',
    ...tagged([
      ['/etc/postern-auditd/config.yml', 'The configuration. The shipped one explains every key.'],
      ['/var/lib/postern-auditd/state.db', 'The position of each sink, and the events of the daemon itself.'],
      ['/var/log/posternproxy/audit/current.log', 'A link to the newest file of events.'],
      ['/run/postern-auditd/control.sock', 'The socket on which the daemon answers the other commands.'],
    ]),
    '.SH SEE ALSO',
    '.BR postern-auditd.yml (5),',
    '.BR fail2ban-client (1),',
    '.BR systemctl (1)',
    '',
  ].join('\n');
}

/** The manual page of the configuration, section 5: the reference of docs/reference/CONFIGURATION.md in man(7). */
export function configManual(): string {
  return [
    '.\\" Made from the schema of the configuration (test/commands/pages.test.ts); UPDATE_DOCS=1 rewrites it.',
    '.TH POSTERN-AUDITD.YML 5 "" "Postern Proxy" "File Formats"',
    '.SH NAME',
    'postern-auditd.yml \\- configuration of the audit daemon of Postern Proxy',
    '.SH SYNOPSIS',
    '.I /etc/postern-auditd/config.yml',
    '.SH DESCRIPTION',
    roff('A file in YAML. Every key is optional; its value is then the one after "default".'),
    roff('Durations are written 500ms, 1s, 10m, 90d, 1y, sizes 64K, 100M, 2G.'),
    roff('postern-auditd config --check FILE reports every problem of a file with its line and column.'),
    ...sections().flatMap(({ title, text, entries }) => [
      `.SH ${roff(title.replaceAll('`', '').toUpperCase())}`,
      ...(text === '' ? [] : [roff(plain(text))]),
      ...tagged(
        entries.map((entry) => {
          const otherwise = plain(standard(entry));
          const facts = `${plain(allowed(entry.schema))}${otherwise === '' ? '' : `; default ${otherwise}`}`;
          return [entry.key, `(${facts}) ${plain(entry.schema.description ?? '')}`.trim()] as const;
        }),
      ),
    ]),
    '.SH SEE ALSO',
    '.BR postern-auditd (1)',
    '',
  ].join('\n');
}

function plain(markdown: string): string {
  return markdown.replaceAll('`', '');
}

function section(command: Command): string[] {
  const help = command.createHelp();
  const usage = help.commandUsage(command).replace(/^postern-auditd /, '');
  const terms = [
    ...help
      .visibleArguments(command)
      .map((argument) => [help.argumentTerm(argument), help.argumentDescription(argument)] as const),
    ...help
      .visibleOptions(command)
      .map((option) => [help.optionTerm(option), help.optionDescription(option)] as const),
  ];
  const after =
    helpOf(command)
      .split(/\n(?=Options:)/)[1]
      ?.split('\n\n')
      .slice(1)
      .join('\n\n') ?? '';
  return [
    `.SS ${roff(usage)}`,
    roff(`${command.description()}.`.replace(/^./, (letter) => letter.toUpperCase())),
    ...tagged(terms),
    ...(after === '' ? [] : ['.PP', '.nf', ...after.split('\n').map(roff), '.fi']),
  ];
}

function tagged(terms: ReadonlyArray<readonly [string, string]>): string[] {
  return terms.flatMap(([term, text]) => ['.TP', `.B ${roff(term)}`, roff(text)]);
}

/** A backslash, a hyphen that is one, and a dot or quote that would begin a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
}
