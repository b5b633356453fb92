import { catalog, createClassifier, resourceCategory } from '../audit/catalog.js';
import { nearest } from '../audit/did-you-mean.js';
import type { Filter } from './filter.js';

const ACTIONS: readonly string[] = catalog.map(({ action }) => action);
const CATEGORIES: readonly string[] = [...new Set(catalog.map(({ category }) => category))];

export interface UnknownNameNote {
  /** The unknown names in the filter, as text; omitted if there are none. */
  readonly note?: string;
}

/**
 * The note of an empty answer: names in the filter that are not in the event catalog. They are not an error, as Postern may write names that
 * the catalog does not have.
 */
export function noteOf(
  { action, resourceType }: Pick<Filter, 'action' | 'resourceType'>,
  aliases: Readonly<Record<string, readonly string[]>> | undefined,
): UnknownNameNote {
  const classify = createClassifier(aliases);
  const sentences = [
    ...(action === null || classify(action, null).known ? [] : [unknownAction(action)]),
    ...(resourceType === null || resourceCategory(resourceType) !== null
      ? []
      : [unknownName('resource type', resourceType, CATEGORIES)]),
  ];
  return sentences.length === 0 ? {} : { note: sentences.join('; ') };
}

/** The text about an action that is not in the catalog. */
export function unknownAction(name: string): string {
  const category = name.replace(/\.\*?$/, '');
  if (!CATEGORIES.includes(category)) return unknownName('action', name, ACTIONS);
  const some = ACTIONS.filter((each) => each.startsWith(`${category}.`)).slice(0, 3);
  return `no action named ${category}, which is a category: its actions are ${some.join(', ')}, …`;
}

function unknownName(kind: string, name: string, known: readonly string[]): string {
  const shown = JSON.stringify(name.length > 60 ? `${name.slice(0, 60)}…` : name);
  // Also the part after the category alone: login_failur.
  const near =
    nearest(name, known) ?? known.find((each) => nearest(name, [each.split('.')[1] ?? each]) !== null);
  return `no ${kind} named ${shown} in the catalog of events${near == null ? '' : `; did you mean ${near}?`}`;
}
