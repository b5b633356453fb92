import { type Cover, Covering } from './mask.js';
import { bareAt, endOfLine, quotedAt, type SecretPlace, skipBlanks } from './secret-values.js';

/** Source of a regular expression for texts in lower case without a name of a secret: `-u`, mysql, mariadb, redis-cli, ldap. See secret-names.ts for their first letters. */
export const COMMAND_HINT = '-u|ysql|ariadb|redis-cli|dap';

const LOGIN_FLAG = /(?<![\w-])(?:-u|--(?:proxy-)?user)(?:[ \t=]{1,4}|\\{0,4}["'],? {0,4})/gi;
const GLUED_FLAG = /(?<![\w-])-u/g;
const GLUED_NAME = /[^\s:"'\\]{1,128}:/y;
const LOGIN_FLAGS = new Set(['-u', '-U', '--user', '--proxy-user']);
/** Tools that take a password, the flag for it, and whether the password follows the flag without a blank. */
const TOOLS: ReadonlyArray<readonly [tool: RegExp, flag: string, isGlued: boolean]> = [
  [/^sshpass$/, '-p', false],
  [/^sshpass$/, '-p', true],
  [/^(?:mysql|mariadb)[\w-]{0,16}$/, '-p', true],
  [/^redis-cli$/, '-a', false],
  [/^ldap(?:search|modify|add|delete|passwd|whoami|compare)$/, '-w', false],
];
const TOOL =
  /\b(?:sshpass|mysql|mariadb|redis-cli|ldap(?:search|modify|add|delete|passwd|whoami|compare))[\w-]{0,16}(?=[ \t])/g;
/** How many characters of a name and its password are searched for the colon. */
const LONGEST_LOGIN = 256;
/** How many characters of a command are examined. */
const LONGEST_COMMAND = 1_024;

/** `curl -u admin:SECRET`, `mysql -pSECRET` and the like. */
export function maskCommands(text: string, cover: Cover): string {
  if (!text.includes('-') || !/-[upaw]|-user/i.test(text)) return text;
  const logins = maskLogins(text, LOGIN_FLAG, cover);
  return maskTools(logins.includes('curl') ? maskLogins(logins, GLUED_FLAG, cover) : logins, cover);
}

function maskLogins(text: string, flags: RegExp, cover: Cover): string {
  const covering = new Covering(text, cover);
  for (const { index, 0: flag } of text.matchAll(flags)) {
    const at = index + flag.length;
    if (at < covering.done || (flags === GLUED_FLAG && !isNameAt(text, at))) continue;
    const place = argumentAt(text.slice(0, at + LONGEST_LOGIN), at);
    const from = passwordIn(text.slice(place.from, place.to));
    if (from > 0) covering.piece(place.from + from, argumentAt(text, at).to);
  }
  return covering.result();
}

function isNameAt(text: string, at: number): boolean {
  GLUED_NAME.lastIndex = at;
  return GLUED_NAME.test(text);
}

/** Where the password of `name:password` begins; 0 if there is none. Two numbers are a user and a group. */
function passwordIn(login: string): number {
  const colon = login.indexOf(':');
  if (colon < 1 || colon === login.length - 1 || login.startsWith('//', colon + 1)) return 0;
  return /^\d+:\d+$/.test(login) ? 0 : colon + 1;
}

function maskTools(text: string, cover: Cover): string {
  const covering = new Covering(text, cover);
  for (const { index, 0: tool } of text.matchAll(TOOL)) {
    if (index < covering.done) continue;
    const near = text.slice(0, index + LONGEST_COMMAND);
    const end = endOfLine(near, index);
    for (let at = skipBlanks(near, index + tool.length); at < end; ) {
      const argument = argumentAt(near, at);
      const word = near.slice(argument.from, argument.to);
      if (TOOLS.some(([named]) => named.test(word))) break; // a later iteration handles this tool
      const found = secretOf(tool, word);
      const next = found === 0 ? argumentAt(text, skipBlanks(text, argument.to)) : argument;
      if (found !== null) covering.piece(next.from + found, next.to);
      at = skipBlanks(near, Math.max(next.to, at) + 1);
    }
  }
  return covering.result();
}

function argumentAt(text: string, at: number): SecretPlace {
  return quotedAt(text, at) ?? bareAt(text, at);
}

/** Where a secret begins in this argument of the tool; 0 if the next argument is one, null if neither. */
function secretOf(tool: string, argument: string): number | null {
  if (!argument.startsWith('-')) return null;
  for (const [named, flag, isGlued] of TOOLS) {
    if (!named.test(tool)) continue;
    if (isGlued && argument.startsWith(flag) && argument.length > flag.length) return flag.length;
    if (!isGlued && argument === flag) return 0;
  }
  return null;
}

/** For each argument of a command, where a secret begins in it; null if there is none. */
export function secretsInCommand(
  items: readonly unknown[],
  isSecretOption: (text: string) => boolean,
): ReadonlyArray<number | null> {
  let tool = '';
  let next: 'secret' | 'login' | null = null;
  return items.map((item) => {
    if (typeof item !== 'string') return null;
    const before = next;
    next = null;
    if (before === 'secret' && !item.startsWith('--')) return 0;
    if (before === 'login') {
      const from = passwordIn(item.slice(0, LONGEST_LOGIN));
      return from > 0 ? from : null;
    }
    if (!item.startsWith('-')) {
      const name = item.slice(item.lastIndexOf('/') + 1);
      if (name.length <= 32 && TOOLS.some(([named]) => named.test(name))) tool = name;
      return null;
    }
    const found = secretOf(tool, item);
    if (found !== null && found > 0) return found;
    if (found === 0 || isSecretOption(item)) next = 'secret';
    else if (LOGIN_FLAGS.has(item)) next = 'login';
    return null;
  });
}
