import { catalog, type EventType } from '../../audit/catalog.js';

const TYPES: ReadonlyMap<string, EventType> = new Map(catalog.map((type) => [type.action, type]));

/** `Login failed`; for an action that is not in the catalog, its name. */
export function titleOf(action: string): string {
  return TYPES.get(action)?.title ?? action;
}

export function severityOf(action: string): EventType['severity'] {
  return TYPES.get(action)?.severity ?? 'info';
}

/** `proxy_host` → `Proxy host`. */
export function nounOf(category: string): string {
  const words = category.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The catalog's actions under their categories, for menus. */
export const ACTIONS: ReadonlyArray<readonly [category: string, actions: readonly EventType[]]> = [
  ...new Set(catalog.map(({ category }) => category)),
].map((category) => [category, catalog.filter((type) => type.category === category)]);
