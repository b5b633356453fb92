import { Document, isMap, isScalar, isSeq, type Node, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { NetworkSet, parseAddress } from '../audit/address.js';
import { AuditdError } from '../errors.js';
import { parseConfig } from './load.js';

/** Values to set in a configuration file. */
export interface ConfigEdits {
  /** Path of Postern's database. */
  readonly database?: string;
  /** Addresses and networks that must never be banned, in addition to those in the file. */
  readonly neverBan?: readonly string[];
  /** The action of fail2ban that bans. */
  readonly banaction?: string;
  /** Whether fail2ban is to be used. */
  readonly fail2ban?: boolean;
}

type Value = string | boolean | readonly string[];

export interface EditedConfig {
  readonly text: string;
  /** One text for each change; empty if the file already has all values. */
  readonly changes: readonly string[];
}

/**
 * Changes the text of a configuration file. Everything else stays byte for byte, including comments, if the new text fits in the place
 * of the old one. Otherwise the YAML library rewrites the file and keeps the comments.
 *
 * @param file only for the messages
 * @throws AuditdError `CONFIG_INVALID` if the text is not a valid configuration before or after the change; `USAGE`
 */
export function editConfig(text: string, edits: ConfigEdits, file: string): EditedConfig {
  const config = parseConfig(text, file);
  const changes: string[] = [];
  let edited = text;
  if (edits.database !== undefined && edits.database !== config.source.database) {
    edited = put(edited, ['source', 'database'], edits.database);
    changes.push(`source.database: ${edits.database}`);
  }
  const missing = newNetworks(config.fail2ban.never_ban, edits.neverBan ?? []);
  if (missing.length > 0) {
    edited = put(edited, ['fail2ban', 'never_ban'], [...config.fail2ban.never_ban, ...missing]);
    changes.push(`fail2ban.never_ban: ${missing.join(', ')}`);
  }
  if (edits.banaction !== undefined && edits.banaction !== config.fail2ban.banaction) {
    edited = put(edited, ['fail2ban', 'banaction'], edits.banaction);
    changes.push(`fail2ban.banaction: ${edits.banaction}`);
  }
  if (edits.fail2ban !== undefined && edits.fail2ban !== config.fail2ban.enabled) {
    edited = put(edited, ['fail2ban', 'enabled'], edits.fail2ban);
    changes.push(`fail2ban.enabled: ${edits.fail2ban}`);
  }
  if (changes.length > 0) parseConfig(edited, file);
  return { text: edited, changes };
}

/** The entries of `wanted` that `present` does not cover. A network covers the addresses in it; only itself covers a network. */
function newNetworks(present: readonly string[], wanted: readonly string[]): string[] {
  const missing: string[] = [];
  for (const entry of wanted) {
    const [address = '', prefix] = entry.split('/');
    const canonical = parseAddress(address);
    if (canonical === null) {
      throw new AuditdError('USAGE', `"${entry}" is neither an address nor a network`, {
        next: 'Give an address, or a network such as 192.0.2.0/24',
      });
    }
    const name = prefix === undefined ? canonical : `${canonical}/${prefix}`;
    const known = [...present, ...missing];
    if (known.includes(name)) continue;
    if (prefix === undefined && new NetworkSet(known).contains(canonical)) continue;
    missing.push(name);
  }
  return missing;
}

/** The text with `value` at `path`, which is a key in a mapping at the top. */
function put(text: string, [section, key]: readonly [string, string], value: Value): string {
  const document = parseDocument(text);
  const found = document.get(section, true);
  const there = isMap(found) ? (found.get(key, true) as Node | undefined) : undefined;
  const attempts = [
    () => inPlace(text, there, value),
    () => (isMap(found) && there === undefined ? asFirstKey(text, found, `${key}: ${flow(value)}`) : null),
    () => (document.has(section) ? null : atTheEnd(text, `${section}:\n  ${key}: ${flow(value)}\n`)),
  ];
  for (const attempt of attempts) {
    const edited = attempt();
    if (edited !== null && holds(edited, text, section, key, value)) return edited;
  }
  document.setIn([section, key], document.createNode(value));
  return document.toString({ lineWidth: 0 });
}

/** Replaces the text of a value that is on one line, or is a list written with dashes. */
function inPlace(text: string, there: Node | undefined, value: Value): string | null {
  const range = there?.range;
  if (!range) return null;
  const [start, end] = range;
  if (isSeq(there) && there.flow !== true && typeof value === 'object') return withItems(text, there, value);
  if (text.slice(start, end).includes('\n')) return null;
  return `${text.slice(0, start)}${flow(value)}${text.slice(end)}`;
}

/** Adds items below the last one of a list written with dashes. */
function withItems(text: string, list: YAMLSeq, value: readonly string[]): string | null {
  const last = (list.items.at(-1) as Node | undefined)?.range;
  if (!last) return null;
  const lineStart = text.lastIndexOf('\n', last[0] - 1) + 1;
  const dash = /^(\s*- +)/.exec(text.slice(lineStart))?.[1];
  if (dash === undefined) return null;
  const newline = text.indexOf('\n', last[1]);
  const end = newline < 0 ? text.length : newline;
  const lines = value.slice(list.items.length).map((item) => `\n${dash}${flow(item)}`);
  return `${text.slice(0, end)}${lines.join('')}${text.slice(end)}`;
}

function asFirstKey(text: string, map: YAMLMap, entry: string): string | null {
  const start = map.range?.[0];
  if (start === undefined) return null;
  if (map.flow === true) {
    const rest = text.slice(start + 1);
    return `${text.slice(0, start + 1)} ${entry}${map.items.length > 0 ? ',' : ' '}${rest}`;
  }
  const lineStart = text.lastIndexOf('\n', start - 1) + 1;
  const indent = text.slice(lineStart, start);
  if (indent.trim() !== '') return null;
  return `${text.slice(0, lineStart)}${indent}${entry}\n${text.slice(lineStart)}`;
}

function atTheEnd(text: string, entry: string): string {
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${entry}`;
}

/** Whether the edited text has the same content as the old one, except for the value. */
function holds(edited: string, text: string, section: string, key: string, value: Value): boolean {
  const [after, wanted] = [parseDocument(edited), parseDocument(text)];
  if (after.errors.length > 0) return false;
  if (!isMap(wanted.get(section, true))) wanted.set(section, wanted.createNode({}));
  wanted.setIn([section, key], wanted.createNode(value));
  return same(after.toJS(), wanted.toJS());
}

function same(a: unknown, b: unknown): boolean {
  const sorted = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(
          Object.entries(value)
            .sort(([x], [y]) => (x < y ? -1 : 1))
            .map(([k, v]) => [k, sorted(v)]),
        )
      : value;
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** A value as YAML in one line. An IPv6 address is quoted: not every YAML parser reads `::1` as text. */
function flow(value: Value): string {
  const document = new Document(value);
  const { contents } = document;
  if (isSeq(contents)) contents.flow = true;
  for (const item of isSeq(contents) ? contents.items : [contents]) {
    if (isScalar(item) && String(item.value).includes(':')) item.type = 'QUOTE_DOUBLE';
  }
  return document.toString({ lineWidth: 0, flowCollectionPadding: false }).trim();
}
