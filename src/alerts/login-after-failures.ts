import { attackerKey, type Fact } from './facts.js';
import type { NewAlert } from './raised-alerts.js';
import { RowWindows } from './row-windows.js';
import { type AlertRule, relatedRows } from './rule.js';

/** So many rows are counted of one address or user, if the threshold is not higher. */
const COUNTED = 50;
/** An edit of the login is found up to a minute later, and must not be another alert. */
const LEAST_WINDOW_MS = 180_000;

export interface LoginAfterFailuresOptions {
  readonly maxRetry: number;
  /** ms */
  readonly findTime: number;
}

/** A login from an address (or a /64), or of a user, with at least `maxRetry` failures within `findTime` before it. */
export class LoginAfterFailures implements AlertRule {
  private readonly byAddress: RowWindows;
  private readonly byUser: RowWindows;
  readonly span: number;

  constructor(private readonly options: LoginAfterFailuresOptions) {
    const { maxRetry, findTime } = options;
    this.span = findTime;
    this.byAddress = new RowWindows(findTime, Math.max(maxRetry, COUNTED));
    this.byUser = new RowWindows(findTime, Math.max(maxRetry, COUNTED));
  }

  get size(): number {
    return this.byAddress.size + this.byUser.size;
  }

  forget(): void {
    this.byAddress.clear();
    this.byUser.clear();
  }

  recall({ role, row, time, address, users }: Fact): void {
    if (role !== 'failure') return;
    if (address !== null) this.byAddress.add(attackerKey(address), row, time);
    for (const user of users) this.byUser.add(user, row, time);
  }

  observe(fact: Fact): NewAlert | null {
    const { role, row, time, address, users } = fact;
    if (role !== 'login') {
      this.recall(fact);
      return null;
    }
    const { maxRetry, findTime } = this.options;
    const fromAddress = address === null ? [] : this.byAddress.before(attackerKey(address), row, time);
    const forUser = [...new Set(users.flatMap((user) => this.byUser.before(user, row, time)))];
    const counted = [fromAddress, forUser].filter(({ length }) => length >= maxRetry).flat();
    if (counted.length === 0) return null;
    const failures = [...new Set(counted)].sort((one, other) => one - other);
    return {
      action: 'alert.login_after_failures',
      cause: JSON.stringify(['login_after_failures', users[0] ?? null, address && attackerKey(address)]),
      window: Math.max(findTime, LEAST_WINDOW_MS),
      fact,
      related: relatedRows([...failures, row]),
      details: {
        failures: failures.length,
        failures_from_address: fromAddress.length,
        failures_for_user: forUser.length,
        find_time_seconds: findTime / 1_000,
      },
    };
  }
}
