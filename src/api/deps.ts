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

/** All that the routes and pages know of the rest. */
export interface ApiDeps {
  /** Answers in a thread of its own. */
  readonly queries: QueryService;
  status(): DaemonStatus;
  readonly tokens: Tokens;
  /** Outlive a reload. */
  readonly sessions: Sessions;
  /** Outlive a reload. */
  readonly metrics: ApiMetrics;
  readonly bans: JailBans;
  /** An audit event of our own. Never throws: what can't be recorded is reported in the log. */
  record(entry: NewEntry): void;
  /** Calls `listener` with each event soon after it was read; returns the end of that. */
  subscribe(listener: (event: AuditEvent) => void): () => void;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly log: Logger;
  readonly config: ApiConfig;
  /** The name of this server. */
  readonly server: string;
  /** Outlive a reload: who guesses does not begin anew with it. */
  readonly failures: Failures;
}
