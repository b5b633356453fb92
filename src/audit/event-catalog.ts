/** Syslog severities (RFC 5424 section 6.2.1) that audit events use, most severe first. */
export const SEVERITIES = ['alert', 'critical', 'error', 'warning', 'notice', 'info'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** Whether a severity is as severe as another, or more. */
export function isAtLeast(severity: Severity, least: Severity): boolean {
  return SEVERITIES.indexOf(severity) <= SEVERITIES.indexOf(least);
}

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
  | 'alert'
  | 'daemon';

/** An event type. Formats, the filter, menus and the table in the docs derive from it. */
export interface EventType {
  /** Canonical name, `<category>.<action>`. */
  readonly action: string;
  /** A `Category`. For a row that is not in the catalog: its resource type in snake case, or `unknown`. */
  readonly category: string;
  /** False for an event type that was made for a row outside the catalog. */
  readonly known: boolean;
  readonly outcome: Outcome;
  readonly severity: Severity;
  /** A sentence without a subject, `Login failed`. */
  readonly title: string;
  /** ECS categorization fields, values and combinations as ECS allows them. `kind` is `event` if it is left out. */
  readonly ecs: {
    readonly kind?: 'alert';
    readonly category: readonly string[];
    readonly type: readonly string[];
  };
  /** OCSF 1.8.0 class and activity ids. */
  readonly ocsf: { readonly classUid: number; readonly activityId: number };
  readonly cef: { readonly signature: string; readonly name: string };
  /** Other spellings, as `<word>` or `<category>.<word>`. */
  readonly aliases: readonly string[];
}

/** OCSF classes; activity 99 is "Other" in each of them. */
const ACCOUNT_CHANGE = 3001;
const AUTHENTICATION = 3002;
const ENTITY_MANAGEMENT = 3004;
const DETECTION_FINDING = 2004;
const APPLICATION_LIFECYCLE = 6002;
const OTHER = 99;

interface Kind {
  /** Left out: the noun of the category and the past tense of the word, `Proxy host updated`. */
  readonly title?: string;
  readonly outcome?: Outcome;
  readonly severity?: Severity;
  /** ECS categories, where they are not those of the group. */
  readonly ecs?: readonly string[];
  readonly type: readonly string[];
  /** OCSF class, where it is not that of the group. */
  readonly classUid?: number;
  readonly activity: number;
  readonly aliases?: readonly string[];
}

interface Group {
  /** For titles: `Proxy host`. */
  readonly noun: string;
  readonly ecs: readonly string[];
  readonly classUid: number;
  /** Resource types that its rows may have in addition to the category; plurals are understood. */
  readonly names: readonly string[];
  readonly kinds: Readonly<Record<string, Kind>>;
}

const create: Kind = { type: ['creation'], activity: 1, aliases: ['add', 'new', 'insert'] };
const update: Kind = {
  type: ['change'],
  activity: 3,
  aliases: ['edit', 'change', 'modify', 'save', 'configure'],
};
const remove: Kind = { type: ['deletion'], activity: 4, severity: 'notice', aliases: ['remove', 'destroy'] };
const enable: Kind = { type: ['change'], activity: 8, aliases: ['activate'] };
const disable: Kind = { type: ['change'], activity: 9, severity: 'notice', aliases: ['deactivate'] };

const configuration = { ecs: ['configuration'], classUid: ENTITY_MANAGEMENT } as const;
const host = { ...configuration, kinds: { create, update, delete: remove, enable, disable } } as const;

/** ECS has `iam` for tokens and accounts; its `authentication` knows start, end and info alone. */
const token = { ecs: ['iam'], classUid: ENTITY_MANAGEMENT, severity: 'notice' } as const;
const account = (kind: Kind): Kind => ({ ...kind, severity: 'notice', type: ['user', ...kind.type] });
const ours = { ecs: ['process'], classUid: APPLICATION_LIFECYCLE } as const;

const groups: Readonly<Record<Category, Group>> = {
  auth: {
    noun: 'Login',
    ecs: ['authentication'],
    classUid: AUTHENTICATION,
    names: ['authentication', 'login', 'session'],
    kinds: {
      login_success: {
        title: 'Login succeeded',
        type: ['start'],
        activity: 1,
        aliases: ['login', 'login_ok', 'success_login', 'signin', 'signin_success', 'authentication_success'],
      },
      login_failure: {
        title: 'Login failed',
        outcome: 'failure',
        severity: 'warning',
        type: ['start'],
        activity: 1,
        aliases: [
          'failure_login',
          'login_denied',
          'login_rejected',
          'login_error',
          'login_invalid',
          'invalid_login',
          'login_attempt_failure',
          'failure_login_attempt',
          'signin_failure',
          'failure_signin',
          'signin_denied',
          'authentication_failure',
          'failure_authentication',
          'auth_failure',
        ],
      },
      logout: { title: 'Logged out', type: ['end'], activity: 2, aliases: ['logoff', 'signout'] },
      token_create: {
        ...token,
        title: 'Token created',
        type: ['creation'],
        activity: 1,
        aliases: ['create_token', 'token_add', 'token_issue', 'api_token_create', 'api_key_create'],
      },
      token_delete: {
        ...token,
        title: 'Token deleted',
        type: ['deletion'],
        activity: 4,
        aliases: [
          'delete_token',
          'token_remove',
          'token_revoke',
          'revoke_token',
          'api_token_delete',
          'api_token_revoke',
          'api_key_delete',
          'api_key_revoke',
        ],
      },
    },
  },
  proxy_host: { noun: 'Proxy host', names: ['proxy'], ...host },
  redirection_host: {
    noun: 'Redirection host',
    names: ['redirection', 'redirect_host', 'redirect'],
    ...host,
  },
  stream: { noun: 'Stream host', names: ['stream_host'], ...host },
  dead_host: { noun: 'Dead host', names: ['404_host'], ...host },
  certificate: {
    noun: 'Certificate',
    ...configuration,
    names: ['cert', 'ssl_certificate', 'tls_certificate', 'ssl', 'letsencrypt'],
    kinds: {
      create: { ...create, aliases: ['add', 'new', 'insert', 'issue', 'request'] },
      upload: { type: ['creation'], activity: 1, aliases: ['import'] },
      renew: { type: ['change'], activity: 3 },
      delete: remove,
    },
  },
  access_list: {
    noun: 'Access list',
    ...configuration,
    names: ['acl'],
    kinds: { create, update, delete: remove },
  },
  port_forward: { noun: 'Port forward', names: ['port_forwarding', 'forward'], ...host },
  user: {
    noun: 'User',
    ecs: ['iam'],
    classUid: ACCOUNT_CHANGE,
    names: ['account'],
    kinds: {
      create: account(create),
      update: account({ ...update, activity: OTHER }),
      delete: account({ ...remove, activity: 6 }),
      password_change: account({
        title: 'Password changed',
        type: ['change'],
        activity: 3,
        aliases: [
          'change_password',
          'password_update',
          'update_password',
          'password_reset',
          'reset_password',
        ],
      }),
      enable: account({ ...enable, activity: 2 }),
      disable: account({ ...disable, activity: 5 }),
    },
  },
  setting: {
    noun: 'Setting',
    ...configuration,
    names: ['config', 'configuration'],
    kinds: { update: { ...update, severity: 'notice', aliases: [...(update.aliases ?? []), 'set'] } },
  },
  backup: {
    noun: 'Backup',
    ...configuration,
    names: [],
    kinds: {
      download: { type: ['access'], activity: 2, severity: 'notice', aliases: ['export'] },
      restore: {
        type: ['change'],
        activity: 3,
        severity: 'warning',
        aliases: ['restore_complete', 'complete_restore', 'import'],
      },
    },
  },
  ban: {
    noun: 'Address',
    ecs: ['intrusion_detection'],
    classUid: DETECTION_FINDING,
    names: [],
    kinds: {
      ban: { type: ['denied'], activity: 1, severity: 'notice' },
      unban: { type: ['allowed'], activity: 3, severity: 'notice' },
    },
  },
  alert: {
    noun: 'Alert',
    ecs: ['intrusion_detection'],
    classUid: DETECTION_FINDING,
    names: [],
    kinds: {
      login_after_failures: {
        title: 'Login after failed attempts',
        outcome: 'unknown',
        severity: 'critical',
        type: ['info'],
        activity: 1,
      },
      new_network: {
        title: 'Login from a new network',
        outcome: 'unknown',
        severity: 'warning',
        type: ['info'],
        activity: 1,
      },
      change_after_alert: {
        title: 'Changes after an alert',
        outcome: 'unknown',
        severity: 'critical',
        type: ['info'],
        activity: 1,
      },
      deletions: {
        title: 'Many deletions',
        outcome: 'unknown',
        severity: 'error',
        type: ['info'],
        activity: 1,
      },
    },
  },
  daemon: {
    noun: 'postern-auditd',
    ...ours,
    names: [],
    kinds: {
      start: { type: ['start'], activity: 3 },
      stop: { type: ['end'], activity: 4 },
      reload: {
        title: 'Configuration read again',
        severity: 'notice',
        ecs: ['configuration'],
        type: ['change'],
        activity: OTHER,
      },
      timeline_change: {
        title: 'Another database history found',
        severity: 'warning',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      row_quarantined: {
        title: 'Row kept out of the way: the daemon died at it',
        outcome: 'failure',
        severity: 'error',
        ecs: ['process'],
        type: ['info'],
        activity: OTHER,
      },
      server_silent: {
        title: 'Server of the fleet is silent',
        outcome: 'failure',
        severity: 'error',
        ecs: ['process'],
        type: ['info'],
        activity: OTHER,
      },
      server_back: {
        title: 'Server of the fleet is back',
        severity: 'notice',
        ecs: ['process'],
        type: ['info'],
        activity: OTHER,
      },
      server_name_taken: {
        title: 'Another server of the fleet has the same name',
        outcome: 'failure',
        severity: 'error',
        ecs: ['configuration'],
        type: ['info'],
        activity: OTHER,
      },
      fleet_gap: {
        title: 'Events of the fleet are gone unread',
        outcome: 'failure',
        severity: 'error',
        ecs: ['database'],
        type: ['error'],
        activity: OTHER,
      },
      fleet_limit: {
        title: 'Failed logins of another server beyond its limit',
        outcome: 'failure',
        severity: 'warning',
        ecs: ['intrusion_detection'],
        type: ['denied'],
        activity: OTHER,
      },
      lease_taken: {
        title: 'Hub ships onward',
        severity: 'notice',
        ecs: ['process'],
        type: ['change'],
        activity: OTHER,
      },
      lease_lost: {
        title: 'Hub stands by',
        severity: 'warning',
        ecs: ['process'],
        type: ['change'],
        activity: OTHER,
      },
      row_edited: {
        title: 'Row edited',
        severity: 'notice',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      ban_report_unreadable: {
        title: "Fail2ban's report of a ban can't be read",
        outcome: 'failure',
        severity: 'error',
        ecs: ['intrusion_detection'],
        type: ['info'],
        activity: OTHER,
      },
      failures_withheld: {
        title: 'Failed logins are kept from fail2ban',
        outcome: 'failure',
        severity: 'error',
        ecs: ['intrusion_detection'],
        type: ['info'],
        activity: OTHER,
      },
      failures_written: {
        title: 'Failed logins reach fail2ban again',
        severity: 'notice',
        ecs: ['intrusion_detection'],
        type: ['info'],
        activity: OTHER,
      },
      rows_lost: {
        title: 'Undelivered rows are gone',
        outcome: 'failure',
        severity: 'error',
        ecs: ['database'],
        type: ['error'],
        activity: OTHER,
      },
      state_rebuilt: {
        title: 'Lost state rebuilt from the log files',
        severity: 'warning',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      archive_create: { title: 'Archive created', ecs: ['file'], type: ['creation'], activity: OTHER },
      archive_restore: {
        title: 'Archive restored',
        severity: 'notice',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      state_backup: {
        title: 'Backup of the daemon created',
        severity: 'notice',
        ecs: ['database'],
        type: ['access'],
        activity: OTHER,
      },
      state_restore: {
        title: 'Backup of the daemon restored',
        severity: 'warning',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      archive_delete: {
        title: 'Archive deleted',
        severity: 'notice',
        ecs: ['file'],
        type: ['deletion'],
        activity: OTHER,
      },
      archive_expire: {
        title: 'Archive past its age, to be deleted',
        severity: 'notice',
        ecs: ['file'],
        type: ['info'],
        activity: OTHER,
      },
      anchor_adopt: {
        title: 'Beginning of the archives adopted without a record',
        severity: 'warning',
        ecs: ['file'],
        type: ['change'],
        activity: OTHER,
      },
      anchor_refuse: {
        title: 'Beginning of the archives does not count',
        outcome: 'failure',
        severity: 'error',
        ecs: ['file'],
        type: ['info'],
        activity: OTHER,
      },
      legal_hold_create: {
        title: 'Legal hold made',
        severity: 'notice',
        ecs: ['configuration'],
        type: ['creation'],
        activity: OTHER,
      },
      legal_hold_release: {
        title: 'Legal hold released',
        severity: 'warning',
        ecs: ['configuration'],
        type: ['deletion'],
        activity: OTHER,
      },
      clock_confirm: {
        title: 'Clock confirmed by the operator',
        severity: 'notice',
        ecs: ['configuration'],
        type: ['change'],
        activity: OTHER,
      },
      purge: {
        title: 'Archived rows purged',
        severity: 'notice',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      purge_postponed: {
        title: 'Purge postponed',
        severity: 'warning',
        ecs: ['database'],
        type: ['info'],
        activity: OTHER,
      },
      hold_override: {
        title: 'Rows purged before a sink had them',
        outcome: 'failure',
        severity: 'error',
        ecs: ['database'],
        type: ['change'],
        activity: OTHER,
      },
      notify_test: {
        title: 'Test message',
        severity: 'notice',
        ecs: ['process'],
        type: ['info'],
        activity: OTHER,
      },
      replay: {
        title: 'Events sent again on request',
        severity: 'notice',
        ecs: ['process'],
        type: ['info'],
        activity: OTHER,
      },
      export: {
        title: 'Audit log exported',
        severity: 'notice',
        ecs: ['database'],
        type: ['access'],
        activity: OTHER,
      },
      own_events_missing: {
        title: 'Own audit events are missing',
        outcome: 'failure',
        severity: 'error',
        ecs: ['database'],
        type: ['error'],
        activity: OTHER,
      },
      rows_changed: {
        title: 'Rows were changed or deleted before they were archived',
        outcome: 'failure',
        severity: 'error',
        ecs: ['database'],
        type: ['error'],
        activity: OTHER,
      },
      event_refused: {
        title: 'Events refused by a receiver',
        outcome: 'failure',
        severity: 'error',
        ecs: ['database'],
        type: ['error'],
        activity: OTHER,
      },
    },
  },
};

const PAST: Readonly<Record<string, string>> = { ban: 'banned', unban: 'unbanned', stop: 'stopped' };

function past(word: string): string {
  return PAST[word] ?? (word.endsWith('e') ? `${word}d` : `${word}ed`);
}

function typeOf(category: string, { noun, ecs, classUid }: Group, word: string, kind: Kind): EventType {
  const title = kind.title ?? `${noun} ${past(word)}`;
  const action = `${category}.${word}`;
  return {
    action,
    category,
    known: true,
    outcome: kind.outcome ?? 'success',
    severity: kind.severity ?? 'info',
    title,
    ecs: { ...(category === 'alert' ? { kind: 'alert' } : {}), category: kind.ecs ?? ecs, type: kind.type },
    ocsf: { classUid: kind.classUid ?? classUid, activityId: kind.activity },
    cef: { signature: action, name: title },
    aliases: kind.aliases ?? [],
  };
}

/** Every event type of Postern and of the daemon. */
export const catalog: readonly EventType[] = Object.entries(groups).flatMap(([category, group]) =>
  Object.entries(group.kinds).map(([word, kind]) => typeOf(category, group, word, kind)),
);

/** Resource types that the rows of a category may have, the category's own name first. */
export const resourceNames: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(groups).map(([category, { names }]) => [category, [category, ...names]]),
);
