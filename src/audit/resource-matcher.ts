import { resourceCategory } from './catalog.js';

/** Resource types in the cache; real tables have a dozen. */
const REMEMBERED = 1_000;

/** Matches a resource type as written in the row, or by the catalog's name: `proxy_host` also finds `proxy-host`. */
export function createResourceMatcher(wanted: string): (resourceType: string | null) => boolean {
  if (resourceCategory(wanted) !== wanted) return (resourceType) => resourceType === wanted;
  const known = new Map<string, boolean>();
  return (resourceType) => {
    if (resourceType === null) return false;
    const before = known.get(resourceType);
    if (before !== undefined) return before;
    const isMeant = resourceType === wanted || resourceCategory(resourceType) === wanted;
    if (known.size < REMEMBERED) known.set(resourceType, isMeant);
    return isMeant;
  };
}
