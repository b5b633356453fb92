import { nearest } from './did-you-mean.js';
import { catalog, type EventType, resourceNames } from './event-catalog.js';

/** @param action the raw word of the row @param resourceType the resource type of the row */
export type Classifier = (action: string, resourceType: string | null) => EventType;

/** Enough for all real pairs of action and resource type. Hostile ones only empty the cache. */
const CACHED = 2_000;
/** A longer text is not a name. */
const LONGEST = 64;
/** Characters of a name that is looked up. A name with other characters (controls, quotes, other scripts) is unknown. */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.:/ -]*[A-Za-z0-9])?$/;

/** Other forms of the words in names. A word that is not in the catalog stays as it is. */
const FORMS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    create: ['created', 'creation'],
    add: ['added', 'addition'],
    insert: ['inserted'],
    issue: ['issued'],
    request: ['requested'],
    update: ['updated'],
    edit: ['edited'],
    change: ['changed'],
    modify: ['modified', 'modification'],
    save: ['saved'],
    configure: ['configured'],
    delete: ['deleted', 'deletion'],
    remove: ['removed', 'removal'],
    destroy: ['destroyed'],
    revoke: ['revoked', 'revocation'],
    enable: ['enabled'],
    disable: ['disabled'],
    activate: ['activated', 'activation'],
    deactivate: ['deactivated', 'deactivation'],
    upload: ['uploaded'],
    import: ['imported'],
    renew: ['renewed', 'renewal'],
    reset: ['resetted'],
    download: ['downloaded'],
    export: ['exported'],
    restore: ['restored', 'restoration'],
    complete: ['completed', 'completion'],
    ban: ['banned'],
    unban: ['unbanned'],
    failure: ['failed', 'fail', 'fails', 'failures', 'unsuccessful'],
    success: ['succeeded', 'succeed', 'successful'],
    denied: ['deny'],
    rejected: ['reject'],
    login: ['logon', 'logins'],
    authentication: ['authenticate', 'authenticated'],
    loginfailure: ['loginfailed', 'failedlogin'],
  }).flatMap(([word, forms]) => forms.map((form) => [form, word] as const)),
);
/** Verbs of two words, which the catalog writes as one. */
const TWO_WORDS: ReadonlyArray<readonly [RegExp, string]> = [
  [/(^|_)(?:log|logged)_(?:in|on)(?=_|$)/g, '$1login'],
  [/(^|_)(?:sign|signed)_in(?=_|$)/g, '$1signin'],
  [/(^|_)(?:log|logged)_(?:out|off)(?=_|$)/g, '$1logout'],
  [/(^|_)(?:sign|signed)_out(?=_|$)/g, '$1signout'],
  [/^loginfailure$/, 'login_failure'],
  [/^loginsuccess$/, 'login_success'],
];

/**
 * Creates the function that determines the type of a row's event from its raw action and its resource type.
 *
 * Both are brought to snake case first, and verbs to their stem. Then, in this order: an alias of the configuration; the
 * full name, from the one side or the other (`auth.login_failure`, `proxy_host_updated`, `delete_user`); the word within
 * its resource type (`update` of a `proxy_host`); and for words of logins and passwords the word alone, unless
 * the resource type is another category. Nothing is guessed from a part of a text: a text that is not known as a whole becomes an
 * informational event of its own, marked `known: false`, which never has the name of a known event.
 *
 * @param aliases further spellings by canonical name, `{ 'auth.login_failure': ['signin_denied', 'sso.denied'] }`; one
 *   without a dot counts under every resource type
 * @throws Error that names the nearest action if the catalog does not have one
 */
export function createClassifier(aliases: Readonly<Record<string, readonly string[]>> = {}): Classifier {
  const configured = aliasesOf(aliases);
  let cache = new Map<string | null, Map<string, EventType>>();
  let cached = 0;
  return (action, resourceType) => {
    const before = cache.get(resourceType)?.get(action);
    if (before !== undefined) return before;
    const type = classify(action, resourceType, configured);
    if (action.length + (resourceType?.length ?? 0) > 2 * LONGEST) return type;
    if (++cached > CACHED) {
      cache = new Map();
      cached = 1;
    }
    const sameResource = cache.get(resourceType);
    if (sameResource === undefined) cache.set(resourceType, new Map([[action, type]]));
    else sameResource.set(action, type);
    return type;
  };
}

const byAction: ReadonlyMap<string, EventType> = new Map(catalog.map((type) => [type.action, type]));

function aliasesOf(aliases: Readonly<Record<string, readonly string[]>>): ReadonlyMap<string, EventType> {
  const spellings = new Map<string, EventType>();
  for (const [action, others] of Object.entries(aliases)) {
    const type = byAction.get(action);
    if (type === undefined) {
      const near = nearest(action, [...byAction.keys()]);
      throw new Error(
        `The catalog has no action "${action}" to give other spellings to${near === null ? '' : `; did you mean ${near}?`}`,
      );
    }
    for (const other of others) {
      spellings.set(other, type);
      if (NAME.test(other)) spellings.set(normal(other), type);
    }
  }
  return spellings;
}

/** The events of each category by word. Some words of auth and user also count without their category. */
const words = new Map<string, ReadonlyMap<string, EventType>>();
const alone = new Map<string, EventType>();
const categoryOf = new Map<string, string>();

for (const [category, names] of resourceNames) {
  for (const name of names) {
    for (const spelling of [name, name.replaceAll('_', '')]) {
      categoryOf.set(spelling, category);
      categoryOf.set(`${spelling}s`, category);
    }
  }
  const known = new Map<string, EventType>();
  for (const type of catalog.filter((candidate) => candidate.category === category)) {
    for (const spelling of [type.action.slice(category.length + 1), ...type.aliases]) {
      known.set(normal(spelling), type);
      if (category === 'auth' || type.action === 'user.password_change') alone.set(normal(spelling), type);
    }
  }
  words.set(category, known);
}

/** The category of the catalog that a resource type means, however it is spelled (`proxy-host`, `ProxyHosts`); null if none. */
export function resourceCategory(resourceType: string | null): string | null {
  if (resourceType === null || resourceType.length > LONGEST || !NAME.test(resourceType)) return null;
  return categoryOf.get(normal(resourceType)) ?? null;
}

function classify(
  action: string,
  resourceType: string | null,
  configured: ReadonlyMap<string, EventType>,
): EventType {
  const resource = resourceType === '' ? null : resourceType;
  if (action.length > LONGEST || (resource?.length ?? 0) > LONGEST) return unknown(action, resource);
  const exact =
    configured.get(action) ?? (resource === null ? undefined : configured.get(`${resource}.${action}`));
  if (exact !== undefined) return exact;
  if (!NAME.test(action) || (resource !== null && !NAME.test(resource))) return unknown(action, resource);
  const word = normal(action);
  const kind = resource === null ? null : normal(resource);
  return (
    configured.get(word) ??
    (kind === null ? undefined : configured.get(`${kind}_${word}`)) ??
    inFull(word) ??
    (kind === null ? alone.get(word) : within(kind, word)) ??
    unknown(action, resource)
  );
}

/** The category's name and one of its words, in either order. */
function inFull(text: string): EventType | undefined {
  for (let at = text.indexOf('_'); at > 0; at = text.indexOf('_', at + 1)) {
    const left = text.slice(0, at);
    const right = text.slice(at + 1);
    const found = inCategory(categoryOf.get(left), right) ?? inCategory(categoryOf.get(right), left);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `update` of a `proxy_host`; `failed` of a `login`; `login_failed` of whatever is no other category. */
function within(kind: string, word: string): EventType | undefined {
  const category = categoryOf.get(kind);
  return (
    inCategory(category, word) ??
    alone.get(`${kind}_${word}`) ??
    (category === undefined ? alone.get(word) : undefined)
  );
}

/** Rows of logins and passwords have either auth or user as their resource type. */
function inCategory(category: string | undefined, word: string): EventType | undefined {
  if (category === undefined) return undefined;
  const own = words.get(category)?.get(word);
  return own ?? (category === 'auth' || category === 'user' ? alone.get(word) : undefined);
}

/** `loginFailed`, `Login Failed`, `login-failed`, `login.failed` → `login_failure`. */
function normal(text: string): string {
  const joined = snake(text)
    .split('_')
    .map((word) => FORMS.get(word) ?? word)
    .join('_');
  return TWO_WORDS.reduce((name, [pattern, word]) => name.replace(pattern, word), joined);
}

/** Lower case, words joined by `_`, nothing but letters and digits of ASCII. */
function snake(text: string): string {
  return text
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '');
}

/** The event of a row that is not in the catalog. */
function unknown(action: string, resource: string | null): EventType {
  const [prefix, ...rest] = resource === null ? action.slice(0, 2 * LONGEST).split('.') : [resource, action];
  const [kind, word] = rest.length === 0 ? ['', prefix] : [prefix, rest.join('_')];
  const category = name(kind);
  const wanted = `${category}.${name(word)}`;
  const own = byAction.has(wanted) ? `unknown.${name(word)}` : wanted;
  const plain = own.replace(/^unknown\./, '').replace(/[._]+/g, ' ');
  const title = plain.charAt(0).toUpperCase() + plain.slice(1);
  return {
    action: own,
    category: own === wanted ? category : 'unknown',
    known: false,
    outcome: 'unknown',
    severity: 'info',
    title,
    ecs: { category: [], type: ['info'] },
    ocsf: { classUid: 0, activityId: 99 },
    cef: { signature: own, name: title },
    aliases: [],
  };
}

function name(text: string | undefined): string {
  return snake((text ?? '').slice(0, LONGEST)).slice(0, LONGEST) || 'unknown';
}
