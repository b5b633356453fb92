import type { Msg, NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { NetworkSet, parseAddress } from '../audit/address.js';
import { parseTime } from '../audit/time.js';
import { type Diagnosis, messageOf } from '../errors.js';
import { parseFleet, SUBJECT_PREFIX, serverTokenOf } from '../formats/fleet-message.js';
import type { State } from '../shipping/state.js';
import { NEWEST_MS, OLDEST_MS } from '../sinks/files/ban-eligibility.js';
import { type FailureLimit, FailureLimiter, type Refusal } from './failure-limits.js';
import type { Part } from './fleet-connection.js';
import { type RemoteFailure, RemoteFailureTable } from './remote-failure-table.js';
import { RetryingSubscription } from './retrying-subscription.js';

const IP_ADDRESS = 8;

type Reason =
  | Refusal
  | 'unreadable'
  | 'revision'
  | 'not_its_own'
  | 'no_address'
  | 'not_fresh'
  | 'never_ban'
  | 'twice';

export interface RemoteFailuresOptions {
  readonly state: State;
  /** Subject token of this server: its own messages are skipped. */
  readonly token: string;
  readonly neverBan: readonly string[];
  readonly limit: FailureLimit;
  readonly clock: () => number;
  readonly log: Logger;
  /** Called after rows were written. */
  readonly onRows: () => void;
  /** Called when a server has reached its limit, once per window and server. */
  readonly onLimit: (origin: string, reason: Refusal) => void;
}

/**
 * Writes fresh failed logins at other servers, as they are published, into a table of this server: the source `fleet`. Only the sink of
 * type fail2ban reads it, exactly as it reads Postern's table. Messages that were missed while the connection was down would be too old
 * to count, so they are not requested.
 */
export class RemoteFailures implements Part {
  private readonly table: RemoteFailureTable;
  private readonly limiter: FailureLimiter;
  private readonly neverBan: NetworkSet;
  private readonly subscription: RetryingSubscription;
  private pending: RemoteFailure[] = [];
  private scheduled: NodeJS.Immediate | null = null;
  private readonly warned = new Map<string, number>();
  private admitted = 0;
  private readonly refused: Partial<Record<Reason, number>> = {};

  constructor(private readonly options: RemoteFailuresOptions) {
    const { state, limit, neverBan, clock, log } = options;
    const subject = `${SUBJECT_PREFIX}.*.auth.login_failure`;
    this.subscription = new RetryingSubscription(subject, 'failed logins (fleet.bans)', log, (message) =>
      this.take(message),
    );
    this.table = new RemoteFailureTable(state.db);
    this.limiter = new FailureLimiter(limit);
    this.neverBan = new NetworkSet([...neverBan]);
    // A restart does not reset the limits.
    for (const { origin, address, received } of this.table.since(clock() - limit.windowMs))
      this.limiter.admit(origin, address, received);
  }

  async attach(nc: NatsConnection): Promise<void> {
    this.subscription.attach(nc);
    await nc.flush();
  }

  detach(): void {
    this.subscription.detach();
  }

  trouble(): Diagnosis | null {
    return this.subscription.trouble();
  }

  status() {
    const refused = Object.entries(this.refused).map(([reason, count]) => [`refused_${reason}_total`, count]);
    return { admitted_total: this.admitted, ...(Object.fromEntries(refused) as Record<string, number>) };
  }

  private take(message: Msg): void {
    const { token, clock, log } = this.options;
    const origin = serverTokenOf(message.subject);
    if (origin === null || origin === token) return;
    const now = clock();
    if (this.limiter.isExhausted(origin, now)) {
      this.refuse('too_many_failures', origin, now);
      return;
    }
    const failure = this.read(message, origin, now);
    if (typeof failure === 'string') {
      this.refuse(failure, origin, now);
      return;
    }
    const refusal = this.limiter.admit(origin, failure.address, now);
    if (refusal !== null) {
      this.refuse(refusal, origin, now);
      return;
    }
    log.trace({ origin, address: failure.address }, 'failed login at another server');
    this.pending.push(failure);
    this.scheduled ??= setImmediate(() => this.write());
  }

  private read(message: Msg, origin: string, now: number): RemoteFailure | Reason {
    const event = parseFleet(message.subject, message.string());
    if (typeof event === 'string') return 'unreadable';
    const { id, server, columns } = event;
    // Edits never count at other servers: the row was published before, or was not a failed login then.
    if (event.revision !== null) return 'revision';
    if (server !== event.origin) return 'not_its_own'; // a row of a third server, which publishes it itself
    const [createdAt = null, , userName = null, userEmail = null] = columns;
    const raw = columns[IP_ADDRESS];
    const address = typeof raw === 'string' ? parseAddress(raw) : null;
    if (address === null) return 'no_address';
    const time = parseTime(createdAt);
    if (time === null || time < now - OLDEST_MS || time > now + NEWEST_MS) return 'not_fresh';
    if (this.neverBan.contains(address)) return 'never_ban';
    return { eventId: id, origin, server, createdAt, userName, userEmail, address };
  }

  private refuse(reason: Reason, origin: string, now: number): void {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
    if (reason !== 'too_many_failures' && reason !== 'too_many_addresses') return;
    const { limit, onLimit } = this.options;
    if (now - (this.warned.get(origin) ?? Number.NEGATIVE_INFINITY) < limit.windowMs) return;
    this.warned.set(origin, now);
    onLimit(origin, reason);
  }

  private write(): void {
    this.scheduled = null;
    const { clock, log, onRows } = this.options;
    const failures = this.pending;
    this.pending = [];
    const now = clock();
    try {
      const added = this.table.add(failures, now);
      this.admitted += added;
      const twice = failures.length - added;
      if (twice > 0) this.refused.twice = (this.refused.twice ?? 0) + twice;
      if (added > 0) onRows();
    } catch (error) {
      // For example a full disk. They are not retried: they would be too old to count afterwards.
      log.error(
        { err: error },
        `can't record ${failures.length} failed logins of other servers: ${messageOf(error)}; they are not counted here`,
      );
    }
  }
}
