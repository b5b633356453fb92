import type { Logger } from 'pino';
import { NetworkSet } from '../audit/address.js';
import type { AuditEvent } from '../audit/event.js';
import type { Config } from '../config/schema.js';
import { messageOf } from '../errors.js';
import type { FirstReadObserver, FirstReadRange } from '../shipping/first-read.js';
import type { State } from '../shipping/state.js';
import type { AuditSource } from '../source/source.js';
import { type PeriodicTask, ticker } from '../ticker.js';
import { AlertStore } from './alert-store.js';
import type { AlertsStatus, RuleStatus } from './alerts-status.js';
import { ChangeAfterAlert } from './change-after-alert.js';
import { earlierFacts } from './earlier-facts.js';
import { type Fact, factOf, mainUserKey } from './facts.js';
import { DAY_MS } from './known-networks.js';
import { LoginAfterFailures } from './login-after-failures.js';
import { ManyDeletions } from './many-deletions.js';
import { NetworkLearner } from './network-learner.js';
import { NewNetwork } from './new-network.js';
import type { NewAlert } from './raised-alerts.js';
import type { AlertRule } from './rule.js';

/** A row counts if its own time is at most this long before, or after, the clock. */
const FRESH_MS = 60_000;
const AHEAD_MS = 5_000;
/** Edits are found up to a minute after the row was read. */
const FRESH_VERSION_MS = 180_000;
const TICK_MS = 1_000;
const LOGIN = 'auth.login_success';
/** Of networks that were learned, until they are written without waiting for a sink. */
const MOST_UNWRITTEN = 5_000;

export interface AlertsOptions {
  readonly config: Pick<Config, 'alerts' | 'fail2ban' | 'fleet'>;
  readonly state: State;
  /** Postern's table, in which rows from before the start are counted. */
  readonly source: AuditSource;
  /** Called after alerts were recorded and committed. */
  readonly onRecorded: () => void;
  readonly clock: () => number;
  readonly log: Logger;
}

/** Null on a hub, whose table has the rows of other servers: each of them derives its own alerts. */
export function createAlerts(options: AlertsOptions): Alerts | null {
  const { alerts, fleet } = options.config;
  const { login_after_failures, new_network, deletions } = alerts;
  const isHub = fleet.role === 'hub';
  if (isHub || !new_network.enabled) NetworkLearner.reset(options.state);
  const isAny = [login_after_failures, new_network, deletions].some(({ enabled }) => enabled);
  return isAny && !isHub ? new Alerts(options) : null;
}

/**
 * Derives alerts from rows that were just written, and records them as events of the daemon.
 *
 * - Only a row that is live (not of a backlog, a restored database or another reading) and within a minute of the clock raises an alert.
 *   Earlier rows are counted: after a start, a backlog or another history they are read from the table again, up to the longest period.
 * - An alert is recorded once for its cause and period, over any death of the process: it is written in the transaction that saves the
 *   mark of the rows that it follows from (RaisedAlerts).
 * - A row and its later versions are one row.
 * - Memory is bounded whatever names and addresses are invented (RowWindows).
 */
export class Alerts implements FirstReadObserver {
  private readonly store: AlertStore;
  private readonly rules: readonly AlertRule[];
  /** Null: turned off. */
  private readonly newNetwork: NewNetwork | null = null;
  private readonly learner: NetworkLearner | null = null;
  private readonly changes: ChangeAfterAlert | null;
  private pruned = 0;
  private readonly never: NetworkSet;
  /** Rows of the current read that may count. */
  private fresh: AuditEvent[] = [];
  private oldest = 0;
  private newest = 0;
  private remembered = 0;
  /** All rows up to here are counted, if `isCounted`. */
  private position = { timeline: 0, upTo: 0 };
  private isCounted = false;
  /** Why nothing can be recorded; it is logged once. */
  private error: string | null = null;
  private task: PeriodicTask | null = null;

  constructor(private readonly options: AlertsOptions) {
    const { config, state, source, clock } = options;
    const { login_after_failures: login, new_network: network, change_after_alert: change } = config.alerts;
    const { deletions } = config.alerts;
    this.store = AlertStore.of(options);
    this.never = new NetworkSet(config.alerts.never);
    if (network.enabled) {
      const { memory } = network;
      const isReady = () => this.learner?.isDone === true;
      const rule = new NewNetwork({ memory, networks: this.store.networks, isReady });
      this.newNetwork = rule;
      this.learner = new NetworkLearner({ state, source, rule, memory, clock });
    }
    const maxRetry = login.max_retry ?? config.fail2ban.max_retry;
    const findTime = login.find_time ?? config.fail2ban.find_time;
    this.rules = [
      ...(login.enabled ? [new LoginAfterFailures({ maxRetry, findTime })] : []),
      ...(this.newNetwork === null ? [] : [this.newNetwork]),
      ...(deletions.enabled ? [new ManyDeletions(deletions)] : []),
    ];
    const { changes, raised } = this.store;
    this.changes = change.enabled ? new ChangeAfterAlert({ ...change, clock }, changes, raised) : null;
    if (!change.enabled) changes.clear();
  }

  start(): void {
    this.store.onRecorded = this.options.onRecorded;
    this.task = ticker.every(TICK_MS, () => this.tick(), { keepsAlive: false });
  }

  stop(): void {
    this.task?.close();
  }

  begin(): void {
    this.fresh = [];
    const now = this.options.clock();
    this.oldest = now - FRESH_VERSION_MS;
    this.newest = now + AHEAD_MS;
    this.remembered = now - this.options.config.alerts.new_network.memory;
  }

  take(event: AuditEvent): void {
    const { time, source } = event;
    if (time === null || time > this.newest) return;
    if (time < this.oldest) {
      if (time >= this.remembered && event.action === LOGIN && source === 'postern') this.learn(event);
    } else if (source === 'postern' || event.revisionOf !== null) this.fresh.push(event);
  }

  recorded(range: FirstReadRange): void {
    try {
      this.derive(range);
      this.save();
      this.error = null;
    } catch (error) {
      this.warn(error);
    }
  }

  /** What is due. */
  tick(): void {
    try {
      this.learner?.step();
      for (const alert of this.changes?.due() ?? []) this.raise(alert);
      for (const alert of this.store.heldBack.due(this.options.clock())) this.store.raised.raise(alert);
      this.prune();
      this.save();
    } catch (error) {
      this.warn(error);
    }
  }

  status(): AlertsStatus {
    const { raised, networks, changes, heldBack } = this.store;
    const {
      login_after_failures: login,
      new_network: network,
      change_after_alert: change,
      deletions,
    } = this.options.config.alerts;
    const ruleStatus = (action: string, { enabled }: { enabled: boolean }): [string, RuleStatus] => {
      const last = raised.last(action);
      return [
        action,
        {
          enabled,
          raised_total: raised.totals.get(action) ?? 0,
          held_back_total: heldBack.totals.get(action) ?? 0,
          last: last && { id: last.ownId === null ? null : `auditd:${last.ownId}`, at: last.time },
        },
      ];
    };
    return {
      rules: Object.fromEntries([
        ruleStatus('alert.login_after_failures', login),
        ruleStatus('alert.new_network', network),
        ruleStatus('alert.change_after_alert', change),
        ruleStatus('alert.deletions', deletions),
      ]),
      remembered: {
        counted: this.rules.reduce((sum, { size }) => sum + size, 0),
        networks: networks.count(),
        alerts: raised.size,
        changes: changes.counts.length,
        held_back: heldBack.size,
      },
      networks_learned: this.learner?.isDone ?? true,
      error: this.error,
    };
  }

  private derive({ source, timeline, after, upTo, liveAfter }: FirstReadRange): void {
    const events = this.fresh;
    this.fresh = [];
    if (source === 'postern') {
      this.learner?.recorded(after);
      const follows = this.position.timeline === timeline && this.position.upTo === after;
      if (!follows || liveAfter > after) this.isCounted = false;
      this.position = { timeline, upTo };
    }
    const isLive = (event: AuditEvent) => event.sequence > liveAfter && this.isFresh(event);
    for (const event of events) if (event.action === LOGIN && !isLive(event)) this.learn(event);
    const facts = events.flatMap((event) => (isLive(event) ? (factOf(event) ?? []) : []));
    if (facts.length === 0) return;
    if (!this.isCounted) this.countEarlier(source === 'postern' ? liveAfter : null);
    for (const fact of facts) this.observe(fact);
  }

  private isFresh({ time, revisionOf }: AuditEvent): boolean {
    const age = this.newest - AHEAD_MS - (time ?? 0);
    return age <= (revisionOf === null ? FRESH_MS : FRESH_VERSION_MS);
  }

  /** `never` is about who logs in from where. What a user deletes or changes counts wherever it is done. */
  private isExempt({ role, address }: Fact): boolean {
    return (role === 'login' || role === 'failure') && address !== null && this.never.contains(address);
  }

  private observe(fact: Fact): void {
    if (this.isExempt(fact)) {
      this.newNetwork?.learn(fact);
      return;
    }
    for (const rule of this.rules) {
      const alert = rule.observe(fact);
      if (alert !== null) this.raise(alert);
    }
    this.changes?.observe(fact);
  }

  private raise(alert: NewAlert): void {
    const { action, related, cause, window, fact } = alert;
    const { raised } = this.store;
    if (raised.isRaised(cause, fact.time, window)) return;
    if (this.isTooMany(alert)) {
      if (this.store.heldBack.add(alert, this.options.clock()))
        this.options.log.warn(
          { action, user: fact.user },
          `${action}: more about this user follow within an hour, as one alert`,
        );
      return;
    }
    raised.raise(alert);
    this.options.log.warn({ action, related }, `${action}: see ${related.join(', ')}`);
  }

  private isTooMany({ action, fact }: NewAlert): boolean {
    const user = mainUserKey(fact.user);
    if (user === null) return false;
    const { max_per_user: most } = this.options.config.alerts;
    return this.store.raised.countLately(action, user, fact.time) >= most;
  }

  private learn({ user, address, time }: AuditEvent): void {
    if (time !== null) this.newNetwork?.learn({ role: 'login', user, address, time });
  }

  private prune(): void {
    const today = Math.floor(this.options.clock() / DAY_MS);
    if (this.newNetwork === null || (this.pruned === today && !this.store.networks.isMuch)) return;
    const memoryDays = Math.ceil(this.options.config.alerts.new_network.memory / DAY_MS);
    this.options.state.transaction(() => this.store.networks.removeOld(today, memoryDays));
    this.pruned = today;
  }

  /** Counts rows that were not seen live. @param upTo the last of them; null: of all that were read */
  private countEarlier(upTo: number | null): void {
    const { source, state, clock } = this.options;
    const mark = state.mark(source.name);
    if (mark === null) return;
    const since = clock() - Math.max(...this.rules.map(({ span }) => span));
    const facts = earlierFacts({ source, mark, upTo: upTo ?? mark.id, since });
    if (facts === null) return;
    for (const rule of this.rules) {
      rule.forget();
      for (const fact of facts) if (!this.isExempt(fact)) rule.recall(fact);
    }
    this.isCounted = true;
  }

  private save(): void {
    const { state } = this.options;
    const { raised, networks } = this.store;
    if (raised.hasPending || networks.unwritten > MOST_UNWRITTEN) state.transaction(() => undefined);
  }

  private warn(error: unknown): void {
    const what = messageOf(error);
    if (this.error === null)
      this.options.log.error({ err: error }, `alerts are not recorded: ${what}; retrying each second`);
    this.error = what;
  }
}
