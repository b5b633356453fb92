import type { Fail2banConfig } from '../config/schema.js';
import { AuditdError } from '../errors.js';
import { setupCommand } from '../next-steps.js';
import { prefixInUse } from '../sinks/files/ban-target.js';
import { PAIR } from '../sinks/files/fail2ban-files.js';

/** Facts about the host of the jail. */
export interface JailPlace {
  /** Directory of the fail2ban sink, where its pair of files is. */
  readonly authDirectory: string;
  /** The meaning of `chain: auto` on this host; `INPUT` if not given, `INPUT,DOCKER-USER` on a host with that chain. */
  readonly chain?: string;
}

/** iptables takes chain names of up to 28 characters: `f2b-`, the jail, `-tcp`. */
const LONGEST_JAIL = 20;

/** Actions that match by protocol, and so need a line (and a chain or set of rules) for each. */
const byProtocol = /^(iptables|nftables|firewallcmd)/;

/**
 * The text of jail.d/posternproxy.conf for a configuration.
 *
 * The jail sets everything itself, as distributions change the defaults: Debian 13 bans by nftables and reads the log of sshd's jail from
 * the journal. Only `ignoreip` is inherited from the administrator. `backend = polling` finds a line as fast as pyinotify (median 0.4 s, at most 1 s), loses
 * none over rolls, and is there on every host: Debian 13 has no pyinotify, and Python 3.12 can't import it.
 *
 * @throws AuditdError CONFIG_INVALID for what can't be written into a jail file or can't work in fail2ban
 */
export function renderJail(config: Fail2banConfig, place: JailPlace): string {
  const jail = plain('jail', config.jail, /^[A-Za-z][\w-]*$/, 'letters, digits, dashes');
  if (jail.length > LONGEST_JAIL) {
    throw invalid('jail', jail, `at most ${LONGEST_JAIL} characters, as iptables limits the chain's name`);
  }
  const files = PAIR.map((name) => `${directory(place.authDirectory)}/${name}`);
  const writer = setupCommand();
  const lines = [
    `# The jail of Postern Proxy's logins: ${count(config.max_retry, 'failure')} from one address within ${seconds(config.find_time)} s, banned for ${seconds(config.ban_time)} s.`,
    `# Made by postern-auditd from its configuration${writer === null ? '' : `; ${writer} writes it anew`}.`,
    `# Put changes of your own into jail.d/${jail}.local.`,
    '',
    `[${jail}]`,
    '',
    'enabled = true',
    'filter = posternproxy',
    '# Both files of the pair, always: fail2ban does not start without them.',
    `logpath = ${files.join('\n          ')}`,
    'backend = polling',
    'logencoding = utf-8',
    'usedns = no',
    '',
    `maxretry = ${config.max_retry}`,
    `findtime = ${seconds(config.find_time)}`,
    `bantime = ${seconds(config.ban_time)}`,
    "# The lines themselves are not kept in fail2ban's memory and database.",
    'maxmatches = 0',
    '',
    '# No ignoreip: that of [DEFAULT] holds. Whom never_ban names, fail2ban never hears of.',
    'ignoreself = true',
    '',
    `banaction = ${banAction(config)}`,
    `port = ${config.ports.join(',')}`,
    `action = ${actions(config, place, jail).join('\n         ')}`,
  ];
  return `${lines.join('\n')}\n`;
}

function actions(config: Fail2banConfig, place: JailPlace, jail: string): string[] {
  const chains = (config.chain === 'auto' ? (place.chain ?? 'INPUT') : config.chain)
    .split(/[\s,]+/)
    .filter((chain) => chain !== '')
    .map((chain) =>
      plain('chain', chain, /^[\w.-]{1,28}$/, 'names of chains, INPUT, DOCKER-USER, separated by commas'),
    );
  const behind = chains.filter((chain) => chain !== 'INPUT');
  if (chains.length === 0 || chains.length > new Set(chains).size || behind.length > 1) {
    throw invalid('chain', config.chain, 'auto, INPUT, DOCKER-USER, or INPUT,DOCKER-USER');
  }
  const lines = chains.flatMap((chain) =>
    chain === 'INPUT' ? here(config, jail) : [forwarded(config, jail, chain)],
  );
  // The report is the last action: it follows the ban.
  return [...lines, `posternproxy-report[name="${jail}", bans="${directory(config.bans)}"]`];
}

/** For packets to the host itself: INPUT, or whatever the chosen action uses. */
function here(config: Fail2banConfig, jail: string): string[] {
  const action = banAction(config);
  const chain = action.startsWith('iptables') ? ', chain="INPUT"' : '';
  const line = (name: string, protocol: string) =>
    `%(banaction)s[name="${name}", port="%(port)s", protocol="${protocol}"${chain}]`;
  // fail2ban 0.11 (Ubuntu 22.04) takes one protocol in a line.
  if (byProtocol.test(action.replace(/^posternproxy-/, ''))) {
    return config.protocols.map((protocol) => line(`${jail}-${protocol}`, protocol));
  }
  return [line(jail, config.protocols.join(','))];
}

/** For packets that a DNAT forwards: container ports. */
function forwarded(config: Fail2banConfig, jail: string, chain: string): string {
  return `posternproxy-forward[name="${jail}-fwd", chain="${chain}", port="%(port)s", protocol="${config.protocols.join(',')}"]`;
}

function banAction(config: Fail2banConfig): string {
  const action = plain(
    'banaction',
    config.banaction,
    /^[a-z][\w.-]*(\[[^[\]\n%]*\])?$/,
    'the name of a file in fail2ban/action.d',
  );
  if (prefixInUse(config) === 128) return action;
  // Only its own set refuses networks; nftables-multiport and -allports are nftables with a type.
  const [, type, options = ''] = /^nftables(?:-(multiport|allports))?(?:\[(.*)\])?$/.exec(action) ?? [];
  if (!action.startsWith('nftables') || (type === undefined && !/^nftables(\[|$)/.test(action)))
    return action;
  const all = [...(type === 'allports' ? ['type=allports'] : []), ...(options === '' ? [] : [options])];
  return `posternproxy-nftables${all.length === 0 ? '' : `[${all.join(', ')}]`}`;
}

/** fail2ban splits and globs logpath, and interpolates percent signs. */
function directory(path: string): string {
  return plain(
    'directory',
    path,
    /^\/[^\s*?[\]%"'<>\\]*$/,
    'an absolute path without spaces, quotes and the characters * ? [ ] < > % \\',
  );
}

function plain(key: string, value: string, allowed: RegExp, words: string): string {
  if (!allowed.test(value)) throw invalid(key, value, words);
  return value;
}

function invalid(key: string, value: string, allowed: string): AuditdError {
  return new AuditdError(
    'CONFIG_INVALID',
    `fail2ban.${key}: ${JSON.stringify(value)} can't be written into a jail`,
    { next: `Set it to ${allowed}` },
  );
}

function seconds(milliseconds: number): number {
  return Math.max(1, Math.ceil(milliseconds / 1_000));
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
