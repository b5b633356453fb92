import { type Cover, Covering } from './mask.js';
import { maskCommands } from './secret-commands.js';
import { maskForms, maskFormsWithSigns } from './secret-forms.js';
import type { SecretNames } from './secret-names.js';
import { coverWithoutSign } from './secret-signs.js';
import {
  behindClosing,
  behindOperator,
  behindQuote,
  depthBefore,
  endOfLine,
  endOfQuoted,
  quotedAt,
  type SecretPlace,
  saysNothing,
  secretValueAt,
  skipBlanks,
  startBefore,
  wordAt,
} from './secret-values.js';

/** Longest run of letters that counts as a name. */
const LONGEST_NAME = 128;
/** Headers whose values have spaces. */
const HEADER = /(?:authorization|cookies?)$/i;
/** `password: 'old' -> 'new'` */
const ARROW = /[ \t]{0,8}(?:[-=]>|→)[ \t]{0,8}/y;
const PORT = /\d{1,5}(?=$|[\s/;,"'?#)])/y;

/**
 * Masks the obvious secrets in a text: those with a form of their own (secret-forms.ts), those in commands (secret-commands.ts), and the
 * values of a secret's name, after `:` or `=`, or as configuration files, options and markup write them (secret-signs.ts). A secret without
 * a name, form or mark cannot be distinguished from other text, and stays. The time is linear in the length of the text, whatever it contains.
 */
export function createTextMask(names: SecretNames, cover: Cover): (text: string) => string {
  const stems = new RegExp(names.hint, 'g');
  const stemsInAnyCase = new RegExp(names.hint, 'gi');

  const maskNamed = (text: string): string => {
    const covering = new Covering(text, cover);
    const lower = text.toLowerCase();
    const isAligned = lower.length === text.length;
    const [expression, searched] = isAligned ? [stems, lower] : [stemsInAnyCase, text];
    expression.lastIndex = 0;
    for (let found = expression.exec(searched); found !== null; found = expression.exec(searched)) {
      const word = wordAt(text, found.index, covering.done);
      if (word.to - word.from <= LONGEST_NAME) coverBehind(covering, word, names);
      expression.lastIndex = Math.max(word.to, found.index + 1, covering.done);
    }
    return covering.result();
  };
  return (text) => maskForms(maskNamed(maskCommands(maskFormsWithSigns(text, cover), cover)), cover);
}

function coverBehind(covering: Covering, word: SecretPlace, names: SecretNames): void {
  const { text } = covering;
  const behind = behindOperator(text, behindClosing(text, word.to));
  const name = text.slice(word.from, word.to);
  if (behind === -1) {
    if (!coverNext(covering, word, name, names)) coverWithoutSign(covering, word, name, names);
  } else if (names.isSecret(name) || names.isNamed(`${wordBefore(text, word.from)} ${name}`)) {
    coverAssigned(covering, word, HEADER.test(name), behind);
  } else coverWithoutSign(covering, word, name, names);
}

/** `Session ID: …`: the name is this word and the next. */
function coverNext(covering: Covering, word: SecretPlace, name: string, names: SecretNames): boolean {
  const { text } = covering;
  if (text[word.to] !== ' ') return false;
  const next = wordAt(text, word.to + 1, word.to + 1);
  if (next.to - next.from > LONGEST_NAME || next.to === next.from) return false;
  const behind = behindOperator(text, behindClosing(text, next.to));
  if (behind === -1 || !names.isNamed(`${name} ${text.slice(next.from, next.to)}`)) return false;
  coverAssigned(covering, word, false, behind);
  return true;
}

function wordBefore(text: string, from: number): string {
  if (text[from - 1] !== ' ') return '';
  return text.slice(startBefore(text, from - 1, /[^\s"'`,;:=(){}[\]]/, 32), from - 1);
}

function coverAssigned(covering: Covering, word: SecretPlace, isHeader: boolean, at: number): void {
  const { text } = covering;
  if (text.startsWith('://', word.from - 3)) {
    PORT.lastIndex = at;
    if (PORT.test(text)) return; // a host and its port
  }
  const place = valueBehind(text, word, isHeader, at);
  if (saysNothing(text.slice(place.from, Math.min(place.to, place.from + 8)))) return;
  covering.piece(place.from, place.to);
  ARROW.lastIndex = behindQuote(text, place);
  if (!ARROW.test(text)) return;
  const next = secretValueAt(text, ARROW.lastIndex);
  covering.piece(next.from, next.to);
}

function valueBehind(text: string, word: SecretPlace, isHeader: boolean, at: number): SecretPlace {
  const quoted = quotedAt(text, at);
  if (quoted !== null) return quoted;
  if (isHeader) {
    const depth = depthBefore(text, word.from);
    if (depth === -1) return { from: at, to: endOfLine(text, at) };
    return { from: at, to: endOfQuoted(text, at, text.charCodeAt(word.from - 1), depth, true) };
  }
  return blockAt(text, word.from, at) ?? secretValueAt(text, at);
}

const BLOCK = /(?:[|>][-+\d]{0,2}[ \t]*)?(?:\r?\n)(?=[ \t]|- )/y;

/** The lines below a name that are indented further: YAML. */
function blockAt(text: string, name: number, at: number): SecretPlace | null {
  BLOCK.lastIndex = at;
  if (!BLOCK.test(text)) return null;
  const indent = indentOf(text, name);
  const from = BLOCK.lastIndex;
  let to = from;
  for (let line = from; line < text.length; ) {
    const first = skipBlanks(text, line);
    const end = endOfLine(text, first);
    const isInside = first - line > indent || (first - line === indent && text.startsWith('- ', first));
    if (end > first && !isInside) break;
    if (end > first) to = end;
    line = end + 1;
  }
  return to > from ? { from: skipBlanks(text, from), to } : null;
}

const DEEPEST_INDENT = 200;

function indentOf(text: string, name: number): number {
  const before = text.slice(Math.max(0, name - DEEPEST_INDENT), name);
  const start = before.lastIndexOf('\n') + 1;
  return skipBlanks(before, start) - start;
}
