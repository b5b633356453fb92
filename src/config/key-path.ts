/** Keys and indexes, from the top of a value down. */
export type KeyPath = ReadonlyArray<string | number>;

/** The part of a value at a path; undefined if there is none. */
export function valueAtPath(value: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>((at, part) => {
    if (typeof at !== 'object' || at === null) return undefined;
    return Object.hasOwn(at, part) ? (at as Record<string | number, unknown>)[part] : undefined;
  }, value);
}
