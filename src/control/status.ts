import type { RefusedConfig } from '../config/reload-result.js';
import type { SilenceStatus } from '../fail2ban/silence-watch.js';
import type { FleetStatus } from '../fleet/fleet-status.js';
import type { RetentionStatus } from '../retention/scheduler.js';
import type { ShipperStatus } from '../shipping/shipper.js';

/** The last request that was refused for its Host, for `status` and `check`. */
export interface RefusedHost {
  readonly host: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** What the API says of itself in `status`. */
export interface ApiStatus {
  readonly state: 'off' | 'starting' | 'listening' | 'retrying';
  /** As the configuration has it; null where it is off. */
  readonly listen: string | null;
  /** Why it does not listen. */
  readonly error: string | null;
  /** The last request that was refused for its Host since this configuration was read; missing from an older daemon. */
  readonly refused_host?: RefusedHost | null;
}

/** What the daemon says of itself. */
export interface DaemonStatus extends ShipperStatus {
  readonly version: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly started: string;
  readonly config: string | null;
  /** Null while the file that was read last is in effect. */
  readonly config_refused: RefusedConfig | null;
  readonly state: string;
  readonly source_id: string | null;
  /** What hangs, for the watchdog; empty while all is well. */
  readonly hung: readonly string[];
  readonly bans: {
    readonly path: string;
    readonly state: string;
    readonly recorded_total: number;
    readonly bans_total: number;
    readonly unbans_total: number;
    readonly bad_lines_total: number;
    /** What fail2ban bans without having reported it; missing from an older daemon. */
    readonly unrecorded?: readonly string[];
  } | null;
  /** Why all or most recent failed logins are kept from fail2ban; null while that is not so. */
  readonly silence: SilenceStatus | null;
  /** Null where this server is alone. */
  readonly fleet: FleetStatus | null;
  readonly api: ApiStatus;
  readonly retention: RetentionStatus | null;
}

/** What the first daemons did not report yet. */
type LaterKey = 'config_refused' | 'silence' | 'state' | 'source_id' | 'hung' | 'fleet' | 'api' | 'retention';

/** The status as a command receives it: the daemon may be older than the command. */
export type ReportedStatus = Omit<DaemonStatus, LaterKey> & Partial<Pick<DaemonStatus, LaterKey>>;
