import { readdirSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { basename, join } from 'node:path';
import type { Fail2banConfig } from '../config/schema.js';
import { codeOf } from '../errors.js';
import { prefixInUse } from '../sinks/files/ban-target.js';
import type { Finding } from '../sinks/sink.js';

/** An option of the administrator's `[DEFAULT]`. */
export interface Default {
  readonly value: string;
  readonly file: string;
}

/** Debian's own file, which sets for all jails what its sshd jail needs. */
const DISTRIBUTION = 'defaults-debian.conf';

/**
 * The options that the administrator has set in `[DEFAULT]`, for all jails. Files are read in fail2ban's order, and the last value counts.
 * jail.conf, which is part of fail2ban, is left out.
 *
 * @param directory /etc/fail2ban
 */
export function administratorDefaults(directory: string): Map<string, Default> {
  const shipped = join(directory, 'jail.conf');
  return lastWords(
    jailFiles(directory).filter((file) => file !== shipped && basename(file) !== DISTRIBUTION),
    'DEFAULT',
  );
}

/** The options of a jail in all files, each with its last value, without those that it inherits from `[DEFAULT]`. */
export function optionsOfJail(directory: string, jail: string): Map<string, Default> {
  return lastWords(jailFiles(directory), jail);
}

/** In fail2ban's order: the last value counts. */
function jailFiles(directory: string): string[] {
  const inDirectory = names(join(directory, 'jail.d'));
  return [
    'jail.conf',
    ...inDirectory.filter((name) => name.endsWith('.conf')).map(inJailD),
    'jail.local',
    ...inDirectory.filter((name) => name.endsWith('.local')).map(inJailD),
  ].map((name) => join(directory, name));
}

function lastWords(files: readonly string[], section: string): Map<string, Default> {
  const found = new Map<string, Default>();
  for (const file of files) {
    for (const [key, value] of sectionOf(readIfThere(file), section)) found.set(key, { value, file });
  }
  return found;
}

/** Describes the options in which the jail differs from the administrator's `[DEFAULT]`; null if there are none. */
export function overriddenDefaults(
  jail: string,
  jailText: string,
  defaults: ReadonlyMap<string, Default>,
): string | null {
  const own = new Map(sectionOf(jailText, jail));
  const different = [...defaults].flatMap(([key, { value, file }]) => {
    const ours = own.get(key);
    return ours === undefined || ours === value
      ? []
      : [`${key} ("${short(value)}" in ${file}, "${short(ours)}" in the jail)`];
  });
  if (different.length === 0) return null;
  return `the jail ${jail} overrides values of [DEFAULT]: ${different.join('; ')}`;
}

/** Where to change the options that `overriddenDefaults` reports. */
export function whereToSet(jail: string): string {
  return `To use a value of [DEFAULT] in this jail, set it under fail2ban: in the configuration, or in jail.d/${jail}.local`;
}

/**
 * Finds addresses in fail2ban's `ignoreip` whose IPv6 network can still be banned: unlike `never_ban`, `ignoreip` protects only the
 * address itself.
 */
export function unsparedNetworks(
  fail2ban: Fail2banConfig,
  defaults: ReadonlyMap<string, Default>,
): Finding | null {
  const ignored = defaults.get('ignoreip');
  const prefix = prefixInUse(fail2ban);
  if (ignored === undefined || prefix === 128) return null;
  const known = new Set(fail2ban.never_ban);
  const narrow = ignored.value.split(/[\s,]+/).filter((entry) => {
    const [address = '', bits = '128'] = entry.split('/');
    return isIPv6(address) && address !== '::1' && Number(bits) > prefix && !known.has(entry);
  });
  if (narrow.length === 0) return null;
  const what = `ignoreip in ${ignored.file} names ${narrow.join(', ')}, but an IPv6 attacker is banned as a /${prefix}, with every other address in it`;
  return { level: 'warning', what, next: 'add them to fail2ban.never_ban too' };
}

/** The options of a section, parsed as fail2ban parses .ini files. */
function sectionOf(text: string, section: string): Array<[string, string]> {
  const found: Array<[string, string]> = [];
  let inside = false;
  let last: [string, string] | null = null;
  for (const line of text.split('\n')) {
    if (/^\s*[#;]/.test(line)) continue;
    const header = /^\[([^\]]+)\]/.exec(line);
    const option = optionIn(line);
    if (header !== null) {
      inside = header[1]?.trim() === section;
      last = null;
    } else if (/^\s+\S/.test(line) && last !== null) {
      last[1] = `${last[1]} ${line.trim()}`.trim();
    } else if (option !== null && inside) {
      last = option;
      found.push(last);
    } else {
      last = null;
    }
  }
  return found;
}

/** `key = value`, or with a colon; a comment may stand behind it. */
function optionIn(line: string): [string, string] | null {
  const comment = line.search(/\s[#;]/);
  const option = comment === -1 ? line : line.slice(0, comment);
  const sign = option.search(/[=:]/);
  if (sign < 1 || /^\s/.test(option)) return null;
  return [option.slice(0, sign).trimEnd().toLowerCase(), option.slice(sign + 1).trim()];
}

function short(value: string): string {
  return value.length > 60 ? `${value.slice(0, 57)}…` : value;
}

function inJailD(name: string): string {
  return join('jail.d', name);
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'EACCES') return '';
    throw error;
  }
}
