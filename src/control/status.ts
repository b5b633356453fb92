import type { AlertsStatus } from '../alerts/alerts-status.js';
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

/** The API's part of `status`. */
export interface ApiStatus {
  readonly state: 'off' | 'starting' | 'listening' | 'retrying';
  /** The configured address; null if the API is off. */
  readonly listen: string | null;
  /** Why it does not listen. */
  readonly error: string | null;
  /** The last request that was refused for its Host since this configuration was read; missing from an older daemon. */
  readonly refused_host?: RefusedHost | null;
}

/** The status that the daemon reports. */
export interface DaemonStatus extends ShipperStatus {
  readonly version: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly started: string;
  readonly config: string | null;
  /** Null while the last configuration that was read is active. */
  readonly config_refused: RefusedConfig | null;
  readonly state: string;
  readonly source_id: string | null;
  /** The parts that hang, for the watchdog; normally empty. */
  readonly hung: readonly string[];
  readonly bans: {
    readonly path: string;
    readonly state: string;
    readonly recorded_total: number;
    readonly bans_total: number;
    readonly unbans_total: number;
    readonly bad_lines_total: number;
    /** Bans that fail2ban has not reported; missing from an older daemon. */
    readonly unrecorded?: readonly string[];
  } | null;
  /** Why all or most recent failed logins are kept from fail2ban; null if they are not. */
  readonly silence: SilenceStatus | null;
  /** Null if all kinds are turned off, and on a hub, which derives none. */
  readonly alerts: AlertsStatus | null;
  /** Null if this server is not part of a fleet. */
  readonly fleet: FleetStatus | null;
  readonly api: ApiStatus;
  readonly retention: RetentionStatus | null;
}

/** Keys that the first versions of the daemon did not report. */
type LaterKey =
  | 'config_refused'
  | 'silence'
  | 'state'
  | 'source_id'
  | 'hung'
  | 'alerts'
  | 'fleet'
  | 'api'
  | 'retention';

/** The status as a command receives it: the daemon may be older than the command. */
export type ReportedStatus = Omit<DaemonStatus, LaterKey> & Partial<Pick<DaemonStatus, LaterKey>>;
