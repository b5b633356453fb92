import type { Command, Option } from 'commander';

/** What a shell offers: options, and for those with a value the words or files that it may have. */
interface Offer {
  readonly flag: string;
  readonly short: string | null;
  readonly description: string;
  readonly value: 'none' | 'file' | 'any' | 'instance' | readonly string[];
}

interface Entry {
  readonly name: string;
  readonly description: string;
  readonly words: readonly string[];
  readonly offers: readonly Offer[];
}

/** The script for a shell, made of the commands as they are registered. */
export function completionFor(shell: string, program: Command): string {
  const entries = program
    .createHelp()
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help')
    .map(entryOf);
  const offers = program.options.map(offerOf);
  return { bash, zsh, fish }[shell as 'bash' | 'zsh' | 'fish'](entries, offers);
}

/** Of a command with sub-commands, their names and the options of all of them. */
function entryOf(command: Command): Entry {
  const subs = command.commands.filter((sub) => sub.name() !== 'help');
  const options = [command, ...subs].flatMap((one) => one.options.filter(({ hidden }) => !hidden));
  const offers = new Map(options.map((option) => [option.long ?? option.flags, offerOf(option)]));
  return {
    name: command.name(),
    description: command.description(),
    words: [
      ...command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
      ...subs.map((sub) => sub.name()),
    ],
    offers: [...offers.values(), INSTANCE, HELP],
  };
}

/** Common to all commands. */
const INSTANCE: Offer = {
  flag: '--instance',
  short: null,
  description: 'the daemon of another database on this host',
  value: 'instance',
};

const HELP: Offer = { flag: '--help', short: '-h', description: 'display help', value: 'none' };

function offerOf(option: Option): Offer {
  const value = /[<[](\w+)/.exec(option.flags)?.[1];
  if (option.long === INSTANCE.flag) return INSTANCE;
  return {
    flag: option.long ?? option.flags,
    short: option.short ?? null,
    description: option.description,
    value:
      option.argChoices ?? (value === undefined ? 'none' : /^(file|directory)$/.test(value) ? 'file' : 'any'),
  };
}

function flags(offers: readonly Offer[]): string[] {
  return offers.flatMap(({ flag, short }) => (short === null ? [flag] : [flag, short]));
}

function bash(entries: readonly Entry[], offers: readonly Offer[]): string {
  const cases = entries.map(
    ({ name, words, offers: own }) => `    ${name}) words="${[...words, ...flags(own)].join(' ')}" ;;`,
  );
  const values = [
    ...new Map(
      [{ name: '', offers }, ...entries].flatMap((entry) =>
        entry.offers.map((offer) => [`${entry.name} ${offer.flag}`, offer] as const),
      ),
    ),
  ]
    .filter(([, { value }]) => value !== 'none')
    .map(([key, { value }]) => {
      if (value === 'file')
        return `    "${key}") COMPREPLY=($(compgen -f -- "$current")); compopt -o filenames 2>/dev/null; return ;;`;
      if (value === 'instance')
        return `    "${key}") COMPREPLY=($(compgen -W "$(_postern_auditd_instances)" -- "$current")); return ;;`;
      return typeof value === 'string'
        ? `    "${key}") return ;;`
        : `    "${key}") COMPREPLY=($(compgen -W "${value.join(' ')}" -- "$current")); return ;;`;
    });
  return `# bash completion for postern-auditd
_postern_auditd_instances() {
  local file
  for file in /etc/postern-auditd@*/config.yml; do
    if [ -e "$file" ]; then file="\${file#*@}"; printf '%s\\n' "\${file%/config.yml}"; fi
  done
}
_postern_auditd() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD - 1]}" command="" words="" word
  local skip=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    if [ -n "$skip" ]; then skip=""; continue; fi
    case "$word" in --instance) skip=yes ;; -*) ;; *) command="$word"; break ;; esac
  done
  COMPREPLY=()
  case "$command $before" in
${values.join('\n')}
  esac
  case "$command" in
    "") words="${[...entries.map(({ name }) => name), 'help', ...flags(offers), '--help'].join(' ')}" ;;
${cases.join('\n')}
    help) words="${entries.map(({ name }) => name).join(' ')}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _postern_auditd postern-auditd
`;
}

/** In single quotes, as all three shells read them; a quote in it as '\\''. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function zsh(entries: readonly Entry[], offers: readonly Offer[]): string {
  const plain = (text: string) => text.replace(/[[\]:\\]/g, '\\$&');
  const spec = ({ flag, description, value }: Offer) => {
    const action =
      { none: '', file: ':file:_files', any: ':value: ', instance: ':name:_postern_auditd_instances' }[
        String(value)
      ] ?? `:value:(${[value].flat().join(' ')})`;
    return quote(`${flag}[${plain(description)}]${action}`);
  };
  const cases = entries.map(({ name, words, offers: own }) => {
    const first = words.length === 0 ? [] : [quote(`1:word:(${words.join(' ')})`)];
    return `        ${name}) _arguments ${[...first, ...own.map(spec)].join(' \\\n          ')} ;;`;
  });
  return `#compdef postern-auditd
_postern_auditd_instances() {
  compadd -- /etc/postern-auditd@*/config.yml(N:h:t:s/postern-auditd@//)
}
_postern_auditd() {
  local -a commands
  commands=(
${entries.map(({ name, description }) => `    ${quote(`${name}:${plain(description)}`)}`).join('\n')}
  )
  local state line
  _arguments -C ${offers.map(spec).join(' ')} '1: :->command' '*:: :->rest'
  case $state in
    command) _describe command commands ;;
    rest)
      case $line[1] in
${cases.join('\n')}
      esac ;;
  esac
}
_postern_auditd "$@"
`;
}

function fish(entries: readonly Entry[], offers: readonly Offer[]): string {
  const names = entries.map(({ name }) => name).join(' ');
  const line = (condition: string, { flag, short, description, value }: Offer) => {
    const long = `-l ${flag.replace(/^--/, '')}`;
    const values =
      value === 'none'
        ? ''
        : value === 'file'
          ? ' -r -F'
          : value === 'any'
            ? ' -x'
            : value === 'instance'
              ? ' -x -a "(__postern_auditd_instances)"'
              : ` -x -a ${quote(value.join(' '))}`;
    return `complete -c postern-auditd -n ${quote(condition)} ${long}${short === null ? '' : ` -s ${short.slice(1)}`}${values} -d ${quote(description)}`;
  };
  const none = `not __fish_seen_subcommand_from ${names}`;
  return `# fish completion for postern-auditd
function __postern_auditd_instances
  for file in /etc/postern-auditd@*/config.yml
    string replace -r '.*@(.*)/config.yml' '$1' $file
  end
end
complete -c postern-auditd -f
${[
  ...offers.map((offer) => line(none, offer)),
  ...entries.flatMap(({ name, description, words, offers: own }) => [
    `complete -c postern-auditd -n ${quote(none)} -a ${name} -d ${quote(description)}`,
    ...(words.length === 0
      ? []
      : [
          `complete -c postern-auditd -n ${quote(`__fish_seen_subcommand_from ${name}`)} -a ${quote(words.join(' '))}`,
        ]),
    ...own.map((offer) => line(`__fish_seen_subcommand_from ${name}`, offer)),
  ]),
].join('\n')}
`;
}
