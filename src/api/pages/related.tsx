import type { Entry } from '../../query/entry.js';

const ID = /^(?:postern|auditd):\d{1,16}$/;
/** How many links an alert shows; its details have the others. */
const SHOWN = 20;

/** The entries that an alert of the daemon rests on. Rows of Postern's table may claim anything, so they have none. */
export function relatedIds({ id, action, details }: Pick<Entry, 'id' | 'action' | 'details'>): string[] {
  if (!id.startsWith('auditd:') || !action.startsWith('alert.')) return [];
  const related = (details as { readonly related?: unknown } | null)?.related;
  if (!Array.isArray(related)) return [];
  return related.filter((one): one is string => typeof one === 'string' && ID.test(one));
}

/** Links to the entries of an alert. */
export function Related({ entry }: { entry: Entry }) {
  const ids = relatedIds(entry);
  if (ids.length === 0) return null;
  return (
    <p class="only">
      Rests on{' '}
      {ids.slice(-SHOWN).map((id) => (
        <a href={`/api/audit-log/${encodeURIComponent(id)}`}>{id}</a>
      ))}
      {ids.length > SHOWN ? `and ${ids.length - SHOWN} earlier entries` : null}
    </p>
  );
}
