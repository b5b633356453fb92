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
