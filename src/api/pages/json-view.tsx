import { markInvisible } from './escape-invisible.js';

type Kind = 'key' | 'string' | 'number' | 'word' | 'mark';

export interface Token {
  readonly kind: Kind;
  readonly text: string;
}

const DEEPEST = 24;

/**
 * JSON in lines with an indentation of two, cut off after about `budget` characters: details that a client wrote may be a
 * megabyte long, or nested ten thousand levels deep.
 */
export function jsonTokens(value: unknown, budget: number): { tokens: readonly Token[]; cut: boolean } {
  const printer = new Printer(budget);
  printer.print(value, 0);
  return { tokens: printer.tokens, cut: printer.left <= 0 };
}

class Printer {
  readonly tokens: Token[] = [];

  constructor(public left: number) {}

  print(value: unknown, indent: number): void {
    if (indent > DEEPEST) this.put('word', '…');
    else if (Array.isArray(value)) {
      const items = value.slice(0, this.left + 1);
      this.list('[', ']', items, indent, (item) => this.print(item, indent + 1));
    } else if (typeof value === 'object' && value !== null) {
      const items = Object.entries(value);
      this.list('{', '}', items, indent, ([key, item]) => {
        this.put('key', JSON.stringify(key));
        this.put('mark', ': ');
        this.print(item, indent + 1);
      });
    } else if (typeof value === 'string') this.put('string', JSON.stringify(value.slice(0, this.left + 100)));
    else this.put(typeof value === 'number' ? 'number' : 'word', String(value));
  }

  private list<T>(
    open: string,
    close: string,
    items: readonly T[],
    indent: number,
    print: (item: T) => void,
  ): void {
    this.put('mark', open);
    for (const [at, item] of items.entries()) {
      if (this.left <= 0) return;
      if (at > 0) this.put('mark', ',');
      this.line(indent + 1);
      print(item);
    }
    if (items.length > 0) this.line(indent);
    this.put('mark', close);
  }

  private put(kind: Kind, text: string): void {
    if (this.left <= 0) return;
    this.tokens.push({ kind, text: markInvisible(text, Math.max(20, this.left)) });
    this.left -= text.length;
  }

  private line(indent: number): void {
    if (this.left > 0) this.tokens.push({ kind: 'mark', text: `\n${'  '.repeat(indent)}` });
  }
}

/** The value, indented and cut off; `href` leads to the whole of it. */
export function Json({ value, href, budget = 6_000 }: { value: unknown; href: string; budget?: number }) {
  // Of details that are too long, the query returns the beginning as text.
  const { tokens, cut } =
    typeof value === 'string'
      ? {
          tokens: [{ kind: 'string' as const, text: markInvisible(value.slice(0, budget), budget) }],
          cut: true,
        }
      : jsonTokens(value, budget);
  return (
    <>
      <pre class="json">
        <code>
          {tokens.map(({ kind, text }) => (kind === 'mark' ? text : <span class={`j-${kind}`}>{text}</span>))}
          {cut ? <span class="j-cut">{'\n…'}</span> : null}
        </code>
      </pre>
      {cut ? (
        <p class="note">
          Too long to show here. <a href={href}>View all of it as JSON</a>
        </p>
      ) : null}
    </>
  );
}
