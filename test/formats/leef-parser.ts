/** Parses a LEEF 2.0 event by hand, as a receiver does: splits it at the delimiter, then at the first `=`. */
export interface ParsedLeef {
  readonly header: readonly string[];
  readonly attributes: Readonly<Record<string, string>>;
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
    attributes[key] = attribute.slice(equals + 1); // LEEF has no escapes to undo
  }
  return { header, attributes };
}
