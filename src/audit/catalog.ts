/** Syslog severities (RFC 5424 section 6.2.1) that audit events use, most severe first. */
export type Severity = 'alert' | 'critical' | 'error' | 'warning' | 'notice' | 'info';

export type Outcome = 'success' | 'failure' | 'unknown';

export type Category =
  | 'auth'
  | 'proxy_host'
  | 'redirection_host'
  | 'stream'
  | 'dead_host'
  | 'certificate'
  | 'access_list'
  | 'port_forward'
  | 'user'
  | 'setting'
  | 'backup'
  | 'ban'
  | 'daemon';

/** All that is known of a kind of event. Formats, the filter, menus and the docs' table derive from it. */
export interface EventType {
  /** Canonical name, `<category>.<action>`. */
  readonly action: string;
  /** A `Category`; for what the catalog does not know, the row's resource type in snake case or `unknown`. */
  readonly category: string;
  /** False for an entry made for a row that the catalog does not know. */
  readonly known: boolean;
  readonly outcome: Outcome;
  readonly severity: Severity;
  /** A sentence without a subject, `Login failed`. */
  readonly title: string;
  /** ECS 8 categorization fields, values as ECS allows them. */
  readonly ecs: { readonly category: readonly string[]; readonly type: readonly string[] };
  /** OCSF class and activity ids. */
  readonly ocsf: { readonly classUid: number; readonly activityId: number };
  readonly cef: { readonly signature: string; readonly name: string };
  /** Other spellings, as `<word>` or `<category>.<word>`. */
  readonly aliases: readonly string[];
}

interface Kind {
  readonly outcome?: Outcome;
  readonly severity?: Severity;
  readonly ecsType: readonly string[];
  /** OCSF activity in the class of the category. */
  readonly activity: number;
  readonly aliases?: readonly string[];
}

interface Group {
  readonly category: Category;
  /** For titles: `Proxy host`. */
  readonly noun: string;
  /** ECS event.category. */
  readonly ecs: readonly string[];
  /** OCSF class_uid (1.6.0). */
  readonly classUid: number;
  /** CEF signatures are `<base><number>`; never renumbered, only appended to. */
  readonly signature: number;
  /** Other names of the resource type. */
  readonly names?: readonly string[];
}

const ENTITY_MANAGEMENT = 3004;
const ACCOUNT_CHANGE = 3001;
const AUTHENTICATION = 3002;
const DETECTION_FINDING = 2004;
const APPLICATION_LIFECYCLE = 6002;

const CREATE: Kind = { ecsType: ['creation'], activity: 1, aliases: ['add', 'insert', 'new'] };
const UPDATE: Kind = { ecsType: ['change'], activity: 3, aliases: ['edit', 'change', 'modify', 'save'] };
const DELETE: Kind = { ecsType: ['deletion'], activity: 4, severity: 'notice', aliases: ['remove', 'destroy'] };
const ENABLE: Kind = { ecsType: ['change'], activity: 8, aliases: ['activate'] };
const DISABLE: Kind = { ecsType: ['change'], activity: 9, severity: 'notice', aliases: ['deactivate'] };
const HOST = { create: CREATE, update: UPDATE, delete: DELETE, enable: ENABLE, disable: DISABLE };

const PAST: Readonly<Record<string, string>> = {
  create: 'created',
  update: 'updated',
  delete: 'deleted',
  enable: 'enabled',
  disable: 'disabled',
  upload: 'uploaded',
  renew: 'renewed',
  download: 'downloaded',
  restore: 'restored',
  start: 'started',
  stop: 'stopped',
};

function group(about: Group, kinds: Readonly<Record<string, Kind & { title?: string }>>): EventType[] {
  return Object.entries(kinds).map(([word, kind], at) => {
    const title = kind.title ?? `${about.noun} ${PAST[word] ?? word.replaceAll('_', ' ')}`;
    return {
      action: `${about.category}.${word}`,
      category: about.category,
      known: true,
      outcome: kind.outcome ?? 'success',
      severity: kind.severity ?? 'info',
      title,
      ecs: { category: about.ecs, type: kind.ecsType },
      ocsf: { classUid: about.classUid, activityId: kind.activity },
      cef: { signature: String(about.signature + at), name: title },
      aliases: kind.aliases ?? [],
    };
  });
}

const configuration = { ecs: ['configuration'], classUid: ENTITY_MANAGEMENT } as const;

const GROUPS: readonly Group[] = [
  { category: 'auth', noun: 'Login', ecs: ['authentication'], classUid: AUTHENTICATION, signature: 100, names: ['authentication', 'session', 'login'] },
  { category: 'proxy_host', noun: 'Proxy host', ...configuration, signature: 200, names: ['proxy'] },
  { category: 'redirection_host', noun: 'Redirection host', ...configuration, signature: 220, names: ['redirection', 'redirect_host', 'redirect'] },
  { category: 'stream', noun: 'Stream', ...configuration, signature: 240, names: ['stream_host'] },
  { category: 'dead_host', noun: 'Dead host', ...configuration, signature: 260, names: ['404_host'] },
  { category: 'certificate', noun: 'Certificate', ...configuration, signature: 280, names: ['cert', 'ssl_certificate', 'ssl'] },
  { category: 'access_list', noun: 'Access list', ...configuration, signature: 300, names: ['acl'] },
  { category: 'port_forward', noun: 'Port forward', ...configuration, signature: 320, names: ['port_forwarding', 'portforward'] },
  { category: 'user', noun: 'User', ecs: ['iam'], classUid: ACCOUNT_CHANGE, signature: 340, names: ['account'] },
  { category: 'setting', noun: 'Setting', ...configuration, signature: 360, names: ['config', 'configuration'] },
  { category: 'backup', noun: 'Backup', ...configuration, signature: 380 },
  { category: 'ban', noun: 'Address', ecs: ['intrusion_detection'], classUid: DETECTION_FINDING, signature: 400 },
  { category: 'daemon', noun: 'postern-auditd', ecs: ['host'], classUid: APPLICATION_LIFECYCLE, signature: 420 },
];

const KINDS: Readonly<Record<Category, Readonly<Record<string, Kind & { title?: string }>>>> = {
  auth: {
    login_success: { title: 'Login succeeded', ecsType: ['start'], activity: 1, aliases: ['login', 'login_ok', 'login_succeeded', 'login_successful', 'successful_login', 'logged_in', 'signin', 'sign_in'] },
    login_failure: { title: 'Login failed', outcome: 'failure', severity: 'warning', ecsType: ['start'], activity: 1, aliases: ['login_failed', 'login_fail', 'failed_login', 'login_error', 'login_denied', 'invalid_login', 'signin_failed', 'signin_failure', 'auth_failed', 'auth_failure', 'authentication_failed', 'authentication_failure'] },
    logout: { title: 'Logged out', ecsType: ['end'], activity: 2, aliases: ['logged_out', 'log_out', 'logoff', 'signout', 'sign_out'] },
    token_create: { title: 'Token created', ecsType: ['creation'], activity: 3, severity: 'notice', aliases: ['create_token', 'token_created', 'token_add'] },
    token_delete: { title: 'Token deleted', ecsType: ['deletion'], activity: 99, severity: 'notice', aliases: ['delete_token', 'token_deleted', 'token_revoke', 'token_revoked', 'revoke_token'] },
  },
  proxy_host: HOST,
  redirection_host: HOST,
  stream: HOST,
  dead_host: HOST,
  certificate: {
    create: CREATE,
    upload: { ecsType: ['creation'], activity: 1, aliases: ['import'] },
    renew: { ecsType: ['change'], activity: 3, aliases: ['renewal'] },
    delete: DELETE,
  },
  access_list: { create: CREATE, update: UPDATE, delete: DELETE },
  port_forward: HOST,
  user: {
    create: { ...CREATE, severity: 'notice', ecsType: ['user', 'creation'] },
    update: { ...UPDATE, activity: 99, ecsType: ['user', 'change'] },
    delete: { ...DELETE, activity: 6, ecsType: ['user', 'deletion'] },
    password_change: { title: 'Password changed', severity: 'notice', ecsType: ['user', 'change'], activity: 3, aliases: ['change_password', 'password_changed', 'password_update', 'password_reset'] },
    enable: { ...ENABLE, activity: 2, ecsType: ['user', 'change'] },
    disable: { ...DISABLE, activity: 5, ecsType: ['user', 'change'] },
  },
  setting: { update: { ...UPDATE, severity: 'notice', aliases: [...(UPDATE.aliases ?? []), 'set'] } },
  backup: {
    download: { ecsType: ['access'], activity: 2, severity: 'notice', aliases: ['export'] },
    restore: { title: 'Backup restored', ecsType: ['change'], activity: 3, severity: 'warning', aliases: ['restore_completed', 'restore_complete', 'import'] },
  },
  ban: {
    ban: { title: 'Address banned', severity: 'notice', ecsType: ['denied'], activity: 1, aliases: [] },
    unban: { title: 'Address unbanned', severity: 'notice', ecsType: ['allowed'], activity: 3, aliases: [] },
  },
  daemon: {
    start: { ecsType: ['start'], activity: 3 },
    stop: { ecsType: ['end'], activity: 4 },
    reload: { title: 'Configuration read again', severity: 'notice', ecsType: ['change'], activity: 99 },
    timeline_change: { title: 'Another database history found', severity: 'warning', ecsType: ['change'], activity: 99 },
    rows_lost: { title: 'Undelivered rows are gone', outcome: 'failure', severity: 'error', ecsType: ['info'], activity: 99 },
    purge: { title: 'Rows archived and purged', severity: 'notice', ecsType: ['deletion'], activity: 99 },
    hold_override: { title: 'Purged before a dead sink had it', outcome: 'failure', severity: 'error', ecsType: ['deletion'], activity: 99 },
  },
};

/** Every kind of event of the product page, and our own. */
export const catalog: readonly EventType[] = GROUPS.flatMap((about) => group(about, KINDS[about.category]));

export type Classifier = (action: string, resourceType: string | null) => EventType;

/** Enough for every honest pair of action and resource type; hostile ones only make it forget. */
const CACHED = 2_000;
const LONGEST_NAME = 64;

/**
 * Makes the function that says what kind of event a row is, from its raw action and its resource type.
 *
 * Both are brought to snake case first, and verbs in the past tense to their stem. Then, in this order: the full name
 * (`auth.login_failure`), the resource type and the word (`proxy_host` + `update`), a spelling that can mean only
 * one thing (`login_failed`, `proxy_host_updated`). Nothing is guessed from a part of a text: what is not known as a whole is informational.
 *
 * @param aliases further spellings by canonical name, `{ 'auth.login_failure': ['signin_denied'] }`
 */
export function createClassifier(aliases: Readonly<Record<string, readonly string[]>> = {}): Classifier {
  const known = new Map<string, EventType>();
  const learn = (name: string, type: EventType) => {
    if (!known.has(name)) known.set(name, type);
  };
  const configured = catalog.flatMap((type) => (aliases[type.action] ?? []).map((alias) => [alias, type] as const));
  for (const [alias, type] of configured) known.set(snake(alias), type);
  for (const type of catalog) learn(type.action, type);
  for (const { category, names = [] } of GROUPS) {
    for (const type of catalog.filter((candidate) => candidate.category === category)) {
      const word = type.action.slice(category.length + 1);
      for (const resource of [category, ...names]) {
        for (const spelling of [word, ...type.aliases]) {
          learn(`${resource}.${spelling}`, type);
          learn(`${resource}_${spelling}`, type);
          learn(`${spelling}_${resource}`, type);
        }
      }
    }
  }
  // Words of logins and passwords mean one thing only, with whatever resource type they come.
  for (const type of catalog.filter(({ category }) => category === 'auth')) {
    for (const spelling of [type.action.slice('auth.'.length), ...type.aliases]) {
      learn(spelling, type);
      learn(`user.${spelling}`, type);
    }
  }
  for (const type of catalog.filter(({ action }) => action === 'user.password_change')) {
    for (const spelling of ['password_change', ...type.aliases]) {
      learn(spelling, type);
      learn(`auth.${spelling}`, type);
    }
  }
  const cache = new Map<string, EventType>();
  return (action, resourceType) => {
    const key = resourceType === null ? action : `${action}\u0000${resourceType}`;
    const cached = cache.get(key);
    if (cached !== undefined) return cached;
    const type = classify(known, action, resourceType);
    if (key.length <= 2 * LONGEST_NAME) {
      if (cache.size >= CACHED) cache.clear();
      cache.set(key, type);
    }
    return type;
  };
}

function classify(known: ReadonlyMap<string, EventType>, action: string, resourceType: string | null): EventType {
  const tooLong = action.length > LONGEST_NAME || (resourceType?.length ?? 0) > LONGEST_NAME;
  const exact = NAME.test(action) && (resourceType === null || NAME.test(resourceType));
  const word = snake(action);
  const resource = resourceType === null ? '' : snake(resourceType);
  if (exact && !tooLong) {
    for (const stemmed of [word, stem(word)]) {
      const dotted = stemmed.replace(/\./g, '_');
      const singular = resource.replace(/s$/, '');
      const found =
        known.get(stemmed) ??
        (resource === '' ? undefined : (known.get(`${resource}.${dotted}`) ?? known.get(`${singular}.${dotted}`))) ??
        known.get(dotted);
      if (found !== undefined) return found;
    }
  }
  return unknownType(word, resource);
}

/** What a name that is looked up may consist of; anything else (controls, quotes, other scripts) is never taken for a known one. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.: -]*$/;

/** `loginFailed`, `Login Failed`, `login-failed`, `login:failed` → `login_failed`; a dot stays. */
function snake(text: string): string {
  return text
    .slice(0, LONGEST_NAME)
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '_')
    .replace(/^[_.]+|[_.]+$/g, '')
    .replace(/_*\.[_.]*/g, '.');
}

const STEMS: ReadonlyMap<string, string> = new Map(Object.entries(PAST).map(([verb, past]) => [past, verb]));

/** `updated` → `update`, `proxy_host.created` → `proxy_host.create`. */
function stem(word: string): string {
  return word.replace(/[a-z]+$/, (last) => STEMS.get(last) ?? last);
}

function unknownType(word: string, resource: string): EventType {
  const category = resource === '' ? (word.includes('.') ? (word.split('.')[0] ?? 'unknown') : 'unknown') : resource.replaceAll('.', '_');
  const rest = resource === '' && word.includes('.') ? word.slice(category.length + 1) : word;
  const name = rest === '' ? 'unknown' : rest;
  // A name that the catalog has is its own: an unknown row must never pass for a known one.
  const action = `${category}.${name}`;
  const taken = catalog.some((type) => type.action === action);
  return {
    action: taken ? `unknown.${name}` : action,
    category: taken ? 'unknown' : category,
    known: false,
    outcome: 'unknown',
    severity: 'info',
    title: 'Event',
    ecs: { category: ['configuration'], type: ['info'] },
    ocsf: { classUid: 0, activityId: 99 },
    cef: { signature: '900', name: 'Event' },
    aliases: [],
  };
}
