import { resourceCategory } from './catalog.js';

/** Resource types that are remembered; honest tables have a dozen. */
const REMEMBERED = 1_000;

/** A resource type is meant as it stands in the row, or by the catalog's name of what it is: `proxy_host` finds `proxy-host`, too. */
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
