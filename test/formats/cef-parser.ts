/** Parses a CEF event by hand, character by character. It shares no code with the writer. */
export interface ParsedCef {
  readonly header: readonly string[];
  readonly extension: Readonly<Record<string, string>>;
}

/** Splits at unescaped pipes; the seventh ends the header. */
function splitHeader(text: string): { fields: string[]; rest: string } {
  const fields: string[] = [];
  let field = '';
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') {
      const next = text.charAt(++at);
      if (next !== '|' && next !== '\\') throw new Error(`bad escape \\${next} in the header`);
      field += next;
    } else if (character === '|') {
      fields.push(field);
      field = '';
      if (fields.length === 7) return { fields, rest: text.slice(at + 1) };
    } else {
      field += character;
    }
  }
  throw new Error(`only ${fields.length} fields in the header`);
}

function unescapeValue(value: string): string {
  let out = '';
  for (let at = 0; at < value.length; at++) {
    const character = value.charAt(at);
    if (character !== '\\') {
      out += character;
      continue;
    }
    const next = value.charAt(++at);
    if (next === 'n') out += '\n';
    else if (next === 'r') out += '\r';
    else if (next === '=' || next === '\\') out += next;
    else throw new Error(`bad escape \\${next} in a value`);
  }
  return out;
}

export function parseCef(text: string): ParsedCef {
  const { fields, rest } = splitHeader(text);
  const extension: Record<string, string> = {};
  // A key is a word directly before an `=` without a backslash; its value reaches to the space before the next key.
  const keys = [...rest.matchAll(/(?:^| )([A-Za-z0-9]+)(?<!\\)=/g)];
  keys.forEach((match, index) => {
    const key = match[1] ?? '';
    const from = match.index + match[0].length;
    const to = keys[index + 1]?.index ?? rest.length;
    if (key in extension) throw new Error(`${key} stands twice`);
    extension[key] = unescapeValue(rest.slice(from, to));
  });
  return { header: fields, extension };
}
