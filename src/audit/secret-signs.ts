import type { Covering } from './mask.js';
import type { SecretNames } from './secret-names.js';
import {
  bareAt,
  behindClosing,
  behindQuote,
  depthBefore,
  isQuote,
  quotedAt,
  type SecretPlace,
  saysNothing,
  secretValueAt,
  skipBackslashes,
  skipBlanks,
  startBefore,
} from './secret-values.js';

/** Directives before a name and its value, separated by blanks alone: nginx, Caddy, HAProxy. */
const SETTERS = new Set(
  (
    'proxy_set_header grpc_set_header add_header add_trailer more_set_headers more_set_input_headers fastcgi_param uwsgi_param ' +
    'scgi_param setenv header_up header_down set-header add-header replace-header request_header response_header auth_request_set'
  ).split(' '),
);
/** Apache's `RequestHeader set NAME VALUE`. */
const VERBS = new Set(['set', 'add', 'append', 'merge', 'edit', 'setifempty']);
/** Attributes that hold the name of a setting. Those of VALUE hold its value. */
const NAMING =
  /(?:^|[_-])(?:key|name|setting|field|property|option|header|param|parameter|attribute|column|id|k)$/i;
const VALUE = /(?:^|[_-])(?:value|val|data|content|string|old|new|from|to|before|after|v)$/i;
/** Names of a password only: `token "ci" was revoked` names a token. */
const PASSWORD = /(?:pass(?:word|wd|phrase)?|pwd|secret)$/i;
/** How configuration files refer to a value that is stored elsewhere. */
const VARIABLES = /^(?:\$\w{1,64}|\$\{\w{1,64}\})+$/;
const FILE = /^\/[\w./-]*$/;
/** How many characters a search for an optional part covers. */
const NEAR = 1_024;

/** A secret's name, or one stored as a value, without `:` or `=` after it. */
export function coverWithoutSign(
  covering: Covering,
  word: SecretPlace,
  name: string,
  names: SecretNames,
): void {
  const { text } = covering;
  const before = text[word.from - 1];
  if (isQuoteOrSign(before) && coverPaired(covering, word, name, names)) return;
  if (!names.isSecret(name)) return;
  if (before === '<') coverElement(covering, word);
  else if (before === '>') coverSibling(covering, word);
  else if (name.startsWith('-')) coverOption(covering, word, name);
  else if (!coverListed(covering, word)) coverDirective(covering, word, name);
}

function isQuoteOrSign(character: string | undefined): boolean {
  return (
    character === '"' || character === "'" || character === '=' || character === ':' || character === ' '
  );
}

const MEMBER = /[\s,;{}]{0,64}\\{0,8}["']?([\w.-]{1,64})\\{0,8}["']?[ \t]{0,8}[:=]>?[ \t]{0,8}/y;
const MEMBERS = 4;

/** `key="smtp_password" value="…"`: one attribute's value is the name of a secret, and another attribute near it is the secret. */
function coverPaired(covering: Covering, word: SecretPlace, name: string, names: SecretNames): boolean {
  const { text } = covering;
  const closing = skipBackslashes(text, word.to);
  const isQuoted = isQuote(text.charCodeAt(closing));
  if (!isQuoted && text[word.from - 1] === ' ' && !/[:=] $/.test(text.slice(word.from - 2, word.from)))
    return false;
  const near = text.slice(Math.max(0, word.from - 64), word.from);
  const open = isQuoted ? near.lastIndexOf(text[closing] ?? '') : near.length;
  if (open === -1) return false;
  const content = isQuoted ? near.slice(open + 1) + name : name;
  if (!names.isNamed(content)) return false;
  const start = word.from - near.length + open;
  const lead = text.slice(Math.max(0, start - 96), start).replace(/\\{1,16}$/, '');
  if (!NAMING.test(nameBefore(lead))) return false;

  let found = false;
  let at = isQuoted ? closing + 1 : word.to;
  for (let count = 0; count < MEMBERS; count++) {
    MEMBER.lastIndex = at;
    const member = MEMBER.exec(text)?.[1] ?? '';
    if (member === '' || NAMING.test(member) || names.isSecret(member)) break;
    const begins = MEMBER.lastIndex;
    const isValue = VALUE.test(member);
    const place = secretValueAt(isValue ? text : text.slice(0, begins + NEAR), begins);
    if (isValue && !saysNothing(text.slice(place.from, Math.min(place.to, place.from + 8)))) {
      covering.piece(place.from, place.to);
      found = true;
    }
    at = behindQuote(text, place);
  }
  return found;
}

const BLANK = /[ \t]/;
const OF_NAME = /[\w-]/;

/** The name at the end of a text, followed by `:`, `=` or `=>`. It is read from the end, so each character is visited once. */
function nameBefore(lead: string): string {
  let at = startBefore(lead, lead.length, BLANK, 4);
  if (lead[at - 1] === '>') at--;
  if (lead[at - 1] !== ':' && lead[at - 1] !== '=') return '';
  at = startBefore(lead, at - 1, BLANK, 4);
  if (isQuote(lead.charCodeAt(at - 1))) at--;
  at = startBefore(lead, at, /\\/, 8);
  return lead.slice(startBefore(lead, at, OF_NAME, 64), at);
}

/** `<password>…</password>` */
function coverElement(covering: Covering, word: SecretPlace): void {
  const { text } = covering;
  const tag = text.slice(word.to, word.to + NEAR);
  const length = tag.indexOf('>');
  if (length === -1 || !/^[\s>]/.test(tag) || tag[length - 1] === '/') return;
  coverContent(covering, word.to + length + 1);
}

function coverContent(covering: Covering, at: number): void {
  const { text } = covering;
  const isData = text.startsWith('<![CDATA[', at);
  const from = isData ? at + '<![CDATA['.length : at;
  const end = text.indexOf(isData ? ']]>' : '<', from);
  const to = end === -1 ? text.length : end;
  if (text.slice(from, to).trim() !== '') covering.piece(from, to);
}

const SIBLING = /<\/[\w:-]{1,64}>\s{0,64}<[\w:-]{1,64}>/y;

/** `<key>password</key><string>…</string>` */
function coverSibling(covering: Covering, word: SecretPlace): void {
  const { text } = covering;
  const tag = /<([\w-]{1,64})>$/.exec(text.slice(Math.max(0, word.from - 66), word.from))?.[1];
  SIBLING.lastIndex = word.to;
  if (tag !== undefined && NAMING.test(tag) && SIBLING.test(text)) coverContent(covering, SIBLING.lastIndex);
}

const BETWEEN_ITEMS = /[ \t]{0,8},?\s{0,8}/y;

/** `--password …`, and `"--password", "…"` */
function coverOption(covering: Covering, word: SecretPlace, name: string): void {
  const { text } = covering;
  if (isNegated(name)) return;
  const closing = behindClosing(text, word.to);
  BETWEEN_ITEMS.lastIndex = closing;
  BETWEEN_ITEMS.test(text);
  const at = closing > word.to ? BETWEEN_ITEMS.lastIndex : skipBlanks(text, closing);
  if (at === closing) return;
  const quoted = quotedAt(text, at);
  if (quoted === null && (closing > word.to || text[at] === '-' || !/\S/.test(text[at] ?? ''))) return;
  const place = quoted ?? bareAt(text, at);
  covering.piece(place.from, place.to);
}

/** `--no-password` takes no value. */
export function isNegated(option: string): boolean {
  return /^-{1,2}(?:no|without|disable|skip)-/i.test(option);
}

const COMMA = /\s{0,8},\s{0,8}/y;

/** `["X-Api-Key","…"]`, `setHeader('X-Api-Key', '…')`; false if the name is not the first item. */
function coverListed(covering: Covering, word: SecretPlace): boolean {
  const { text } = covering;
  const depth = depthBefore(text, word.from);
  if (
    depth === -1 ||
    !/[[(]\s{0,8}$/.test(text.slice(Math.max(0, word.from - depth - 12), word.from - depth - 1))
  )
    return false;
  COMMA.lastIndex = behindClosing(text, word.to);
  if (!COMMA.test(text)) return false;
  const quoted = quotedAt(text, COMMA.lastIndex);
  if (quoted !== null) covering.piece(quoted.from, quoted.to);
  return quoted !== null;
}

const ARGUMENT = /[^\s;]*/y;
const ARGUMENTS = /[^;\r\n]*/y;
const HEADER = /(?:authorization|cookies?)$/i;

/** `proxy_set_header X-Api-Key …;`, `set $token …;`, `password "…"`, `api_key …;` */
function coverDirective(covering: Covering, word: SecretPlace, name: string): void {
  const { text } = covering;
  const closing = behindClosing(text, word.to);
  const at = skipBlanks(text, closing);
  if (at === closing) return;
  const isVariable = text[word.from - 1] === '$';
  const start = isVariable || depthBefore(text, word.from) !== -1 ? word.from - 1 : word.from;
  const last = lastWord(text, start);
  if (isVariable && last.word === 'map') coverMap(covering, at);
  else {
    const quoted = quotedAt(text, at);
    let place = quoted ?? argumentAt(text, at, ARGUMENT);
    const value = text.slice(place.from, Math.min(place.to, place.from + NEAR));
    if (value === '' || VARIABLES.test(value)) return;
    if (isSetter(text, last, isVariable, name)) {
      if (quoted === null && HEADER.test(name)) place = argumentAt(text, at, ARGUMENTS);
    } else if (quoted === null || !PASSWORD.test(name)) {
      const isStatement =
        /[_-]/.test(name) && isFirst(text, start) && text[skipBlanks(text, behindQuote(text, place))] === ';';
      if (!isStatement || FILE.test(value) || saysNothing(value)) return;
      if (quoted === null && /^[a-z]*$/.test(value)) return; // `auth_token on;`
    }
    covering.piece(place.from, place.to);
  }
}

function argumentAt(text: string, at: number, argument: RegExp): SecretPlace {
  argument.lastIndex = at;
  argument.test(text);
  return { from: at, to: argument.lastIndex };
}

interface Word {
  readonly word: string;
  readonly from: number;
}

/** The word before a position, with only blanks between. */
function lastWord(text: string, before: number): Word {
  const to = startBefore(text, before, BLANK, 16);
  const from = startBefore(text, to, OF_NAME, 40);
  if (from === to || to === before) return { word: '', from: before };
  return { word: text.slice(from, to).toLowerCase(), from };
}

function isSetter(text: string, last: Word, isVariable: boolean, name: string): boolean {
  // If newlines are escaped, the n of one precedes the word.
  if (SETTERS.has(last.word) || (last.word.startsWith('n') && SETTERS.has(last.word.slice(1)))) return true;
  if (isVariable && (last.word === 'set' || last.word === 'nset')) return true;
  if (VERBS.has(last.word) && lastWord(text, last.from).word.endsWith('header')) return true;
  return (last.word === 'env' || last.word === 'arg') && /^[A-Z0-9_]+$/.test(name);
}

/** Whether a statement begins here. */
function isFirst(text: string, at: number): boolean {
  return /(?:^|[;{}\n]|\\n)[ \t]{0,48}$/.test(text.slice(Math.max(0, at - 50), at));
}

const MAP_OPENS = /\$\w{1,64}\s{0,8}\{/y;
const MAP_WORDS = new Set(['default', 'hostnames', 'include', 'volatile', '']);

/** nginx's `map $http_x_api_key $known { "…" 1; }`: the texts that the secret is compared with. */
function coverMap(covering: Covering, at: number): void {
  const { text } = covering;
  MAP_OPENS.lastIndex = at;
  if (!MAP_OPENS.test(text)) return;
  let next = skipBlanks(text, MAP_OPENS.lastIndex, true);
  while (next < text.length && text[next] !== '}') {
    const place = quotedAt(text, next) ?? argumentAt(text, next, ARGUMENT);
    if (!MAP_WORDS.has(text.slice(place.from, Math.min(place.to, place.from + 16))))
      covering.piece(place.from, place.to);
    const end = text.indexOf(';', behindQuote(text, place));
    next = end === -1 ? text.length : skipBlanks(text, end + 1, true);
  }
}
