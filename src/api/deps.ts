import type { Logger } from 'pino';
import type { AuditEvent } from '../audit/event.js';
import type { ApiConfig } from '../config/api.js';
import type { DaemonStatus } from '../control/status.js';
import type { JailBans } from '../fail2ban/helper-client.js';
import type { QueryService } from '../query/service.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { Failures } from './access/failed-auth-limiter.js';
import type { Sessions } from './access/session.js';
import type { Tokens } from './access/tokens.js';
import type { ApiMetrics } from './metrics.js';

/** What the routes and pages need from the rest of the daemon. */
export interface ApiDeps {
  /** Answers queries in a thread of its own. */
  readonly queries: QueryService;
  status(): DaemonStatus;
  readonly tokens: Tokens;
  /** Outlive a reload. */
  readonly sessions: Sessions;
  /** Outlive a reload. */
  readonly metrics: ApiMetrics;
  readonly bans: JailBans;
  /** Records an audit event of our own. Never throws: a failure is logged. */
  record(entry: NewEntry): void;
  /** Calls `listener` with each event soon after it was read. @returns a function that ends the subscription */
  subscribe(listener: (event: AuditEvent) => void): () => void;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly log: Logger;
  readonly config: ApiConfig;
  /** The name of this server. */
  readonly server: string;
  /** Outlive a reload, so that it does not reset the counts of attackers. */
  readonly failures: Failures;
}
