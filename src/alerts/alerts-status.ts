/** What a kind of alert has raised. */
export interface RuleStatus {
  readonly enabled: boolean;
  /** Since the daemon started. */
  readonly raised_total: number;
  /** Not raised, because there were `max_per_user` within an hour, and told of by one alert. */
  readonly held_back_total: number;
  /** Of the last two days; null: none. `at` is the time of the entry that raised it, ms since the epoch. */
  readonly last: { readonly id: string | null; readonly at: number } | null;
}

/** The alerts' part of `status`. */
export interface AlertsStatus {
  /** By action, such as `alert.new_network`. */
  readonly rules: Readonly<Record<string, RuleStatus>>;
  /** How much is remembered, each bounded. */
  readonly remembered: {
    /** Addresses and users with failed logins, and users who delete, of the last minutes. */
    readonly counted: number;
    /** Networks of users. */
    readonly networks: number;
    /** Alerts of the last two days, one of each cause. */
    readonly alerts: number;
    /** Users whose changes are being counted. */
    readonly changes: number;
    /** Users of whom more alerts are held back. */
    readonly held_back: number;
  };
  /** False until the networks of earlier logins are learned: `alert.new_network` is not raised before. */
  readonly networks_learned: boolean;
  /** Why alerts can't be recorded; null if they can. */
  readonly error: string | null;
}
