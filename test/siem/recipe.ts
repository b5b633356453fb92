import { readFileSync } from 'node:fs';

export const SIEM = new URL('../../docs/guide/siem/', import.meta.url);

/** A file of docs/guide/siem. */
export function read(name: string): string {
  return readFileSync(new URL(name, SIEM), 'utf8');
}

/** A recipe with ports and paths of the test: each must stand in it, so that what is run is what is shipped. */
export function recipe(name: string, replacements: Readonly<Record<string, string>>): string {
  return Object.entries(replacements).reduce(
    (text, [shipped, own]) => {
      if (!text.includes(shipped)) throw new Error(`${name} does not have ${shipped}`);
      return text.replaceAll(shipped, own);
    },
    read(`recipes/${name}`),
  );
}
