import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import type { KeyPath } from './key-path.js';
import type { ConfigProblem } from './validation-messages.js';
import { syntaxMessage } from './yaml-error-message.js';

/** A position in a text: lines and columns count from 1. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

/** A problem of the text itself, found before its keys are checked. */
export interface SyntaxProblem {
  readonly offset: number;
  readonly message: string;
}

/** A few anchors are useful; a thousand aliases of aliases are an attack ("billion laughs"). */
const MOST_ALIASES = 100;

/** Far more than a configuration needs. 120,000 opening brackets crash the process (yaml 2.9, Node.js 20: out of memory). */
const LONGEST = 80_000;

const TOO_MUCH = `found more than a configuration can have: ${LONGEST} characters, ${MOST_ALIASES} uses of anchors, or endless nesting`;

/** Reads single values from a text with problems; undefined for a value that is missing or unreadable. */
export function salvage(text: string): (path: KeyPath) => unknown {
  if (text.length > LONGEST) return () => undefined;
  const document = parseDocument(text, { logLevel: 'silent', stringKeys: true });
  return (path) => {
    try {
      return document.getIn(path);
    } catch {
      return undefined; // The path leads nowhere.
    }
  };
}

/** The text of a configuration: its value, and the position of each part. */
export class ConfigDocument {
  readonly problems: readonly SyntaxProblem[];
  /** The value of the text; undefined if the text has problems. An empty text is an empty mapping. */
  readonly value: unknown;
  private readonly lines = new LineCounter();
  private readonly document: Document.Parsed | null;

  constructor(text: string) {
    const problems: SyntaxProblem[] = [];
    let document: Document.Parsed | null = null;
    let value: unknown;
    try {
      if (text.length > LONGEST) throw new RangeError();
      document = parseDocument(text, {
        lineCounter: this.lines,
        prettyErrors: false,
        logLevel: 'error',
        merge: true,
        stringKeys: true,
      });
      problems.push(...this.syntaxProblems(document));
      if (problems.length === 0) value = document.toJS({ maxAliasCount: MOST_ALIASES }) ?? {};
    } catch {
      problems.push({
        offset: 0,
        message: TOO_MUCH,
      });
    }
    this.document = document;
    this.problems = problems;
    this.value = value;
  }

  placeOf(offset: number): TextPosition {
    const { line, col } = this.lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  /** The position of a problem: its key, its value, or the nearest existing part around it. */
  offsetOf({ path, atKey }: Pick<ConfigProblem, 'path' | 'atKey'>): number {
    let node: unknown = this.document?.contents ?? null;
    let offset = startOf(node) ?? 0;
    for (const [depth, part] of path.entries()) {
      node = this.resolved(node);
      if (isSeq(node) && typeof part === 'number') {
        node = node.items[part];
        offset = startOf(node) ?? offset;
        continue;
      }
      const pair = this.pairOf(node, String(part));
      if (pair === undefined) return offset;
      const keyOffset = startOf(pair.key) ?? offset;
      const atValue = depth === path.length - 1 && !atKey;
      offset = atValue ? (startOf(pair.value) ?? keyOffset) : keyOffset;
      node = pair.value;
    }
    return offset;
  }

  /** The member of a mapping, its own or one merged by `<<`. */
  private pairOf(node: unknown, key: string): Pair | undefined {
    if (!isMap(node)) return undefined;
    const own = node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
    if (own !== undefined) return own;
    const merged = node.items.find((pair) => isScalar(pair.key) && pair.key.source === '<<');
    const from = this.resolved(merged?.value);
    for (const each of isSeq(from) ? from.items : [from]) {
      const pair = this.pairOf(this.resolved(each), key);
      if (pair !== undefined) return pair;
    }
    return undefined;
  }

  private resolved(node: unknown): unknown {
    return isAlias(node) && this.document !== null ? node.resolve(this.document) : node;
  }

  /** The first problem of each line: further ones only follow from it. */
  private syntaxProblems(document: Document.Parsed): SyntaxProblem[] {
    const problems = new Map<number, SyntaxProblem>();
    const add = (offset: number, message: string) => {
      const { line } = this.placeOf(offset);
      if (offset < (problems.get(line)?.offset ?? Number.POSITIVE_INFINITY))
        problems.set(line, { offset, message });
    };
    for (const error of [...document.errors, ...document.warnings]) {
      const [offset] = error.pos;
      add(offset, error.code === 'DUPLICATE_KEY' ? this.duplicate(document, offset) : syntaxMessage(error));
    }
    const { yaml } = document.directives;
    if (yaml.explicit === true && yaml.version !== '1.2') {
      add(0, `found %YAML ${yaml.version}, allowed is 1.2; leave the line out`);
    }
    visit(document, {
      Alias: (_, alias) => {
        if (alias.resolve(document) === undefined)
          add(startOf(alias) ?? 0, syntaxMessage({ code: 'BAD_ALIAS', message: '' }));
      },
      // In JavaScript such a member would set the prototype and be missed.
      Pair: (_, { key }) => {
        if (isScalar(key) && key.value === '__proto__')
          add(startOf(key) ?? 0, '__proto__ is not allowed as a name');
      },
    });
    return [...problems.values()].sort((a, b) => a.offset - b.offset);
  }

  /** Names the key that appears twice, and the line of the first one. */
  private duplicate(document: Document.Parsed, offset: number): string {
    let message = 'a key appears twice in one mapping';
    visit(document, {
      Map: (_, map) => {
        const second = map.items.find((pair) => startOf(pair.key) === offset);
        if (second === undefined || !isScalar(second.key)) return undefined;
        const name = String(second.key.value);
        const first = map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === name);
        const { line } = this.placeOf(startOf(first?.key) ?? 0);
        message = `${name} appears here a second time (first in line ${line}); keep one of them`;
        return visit.BREAK;
      },
    });
    return message;
  }
}

function startOf(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined;
  return (node.range as readonly [number, number, number] | null | undefined)?.[0];
}
