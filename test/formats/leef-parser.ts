/** Parses a LEEF 2.0 event by hand, as a receiver does: splits it at the delimiter, then at the first `=`. */
export interface ParsedLeef {
  readonly header: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
}

function unescapeValue(value: string): string {
  let out = '';
  for (let at = 0; at < value.length; at++) {
    if (value.charAt(at) !== '\\') {
      out += value.charAt(at);
      continue;
    }
    const next = value.charAt(++at);
    if (next === 'u') {
      out += String.fromCharCode(Number.parseInt(value.slice(at + 1, at + 5), 16));
      at += 4;
    } else {
      const plain: Record<string, string> = { n: '\n', r: '\r', t: '\t', '=': '=', '\\': '\\' };
      const found = plain[next];
      if (found === undefined) throw new Error(`bad escape \\${next}`);
      out += found;
    }
  }
  return out;
}

export function parseLeef(text: string): ParsedLeef {
  const parts = text.split('|');
  const header = parts.slice(0, 6);
  const delimiter = header[5] ?? '';
  if (header[0] !== 'LEEF:2.0' || delimiter.length !== 1) throw new Error('no LEEF 2.0 header');
  const attributes: Record<string, string> = {};
  for (const attribute of parts.slice(6).join('|').split(delimiter)) {
    const equals = attribute.indexOf('=');
    if (equals < 1) throw new Error(`no key in ${JSON.stringify(attribute)}`);
    const key = attribute.slice(0, equals);
    if (key in attributes) throw new Error(`${key} stands twice`);
    attributes[key] = unescapeValue(attribute.slice(equals + 1));
  }
  return { header, attributes };
}
