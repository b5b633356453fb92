import type { RefusedConfig } from '../../config/reload-result.js';
import type { ApiStatus } from '../../control/status.js';
import { UNREPORTED_NEXT, unreported } from '../../fail2ban/compare-bans.js';
import type { SilenceStatus } from '../../fail2ban/silence-watch.js';
import type { FleetStatus } from '../../fleet/fleet-status.js';
import type { RetentionStatus } from '../../retention/scheduler.js';
import type { LoopStatus } from '../../shipping/loop-status.js';
import type { FeedStatus } from '../../shipping/source-feed.js';
import { fleetTroubles } from '../fleet/render.js';

/** What the daemon answers to GET /status. */
export interface ReportedStatus {
  readonly version: string;
  readonly pid: number;
  readonly started: string;
  readonly config: string | null;
  readonly config_refused?: RefusedConfig | null;
  readonly sources: Readonly<Record<string, FeedStatus>>;
  readonly sinks: Readonly<Record<string, LoopStatus>>;
  readonly bans: {
    readonly path: string;
    readonly state: string;
    readonly recorded_total: number;
    readonly unrecorded?: readonly string[];
  } | null;
  readonly silence?: SilenceStatus | null;
  /** Missing from a daemon that has none yet. */
  readonly api?: ApiStatus;
  readonly retention?: RetentionStatus | null;
  readonly fleet?: FleetStatus | null;
}

/** What needs somebody's attention; a Postern that is stopped or not there yet does not. */
export function troubles(status: ReportedStatus): string[] {
  const sources = Object.entries(status.sources)
    .filter(([, { state }]) => !['reading', 'stopped', 'missing', 'starting'].includes(state))
    .map(([name, { message }]) => `source ${name}: ${message}`);
  const sinks = Object.entries(status.sinks)
    .filter(([, { state }]) => state === 'backing off')
    .map(([name, sink]) => `sink ${name}: ${sink.last_error?.message ?? 'down'}`);
  const api = status.api?.state === 'retrying' ? [status.api.error ?? 'the API does not listen'] : [];
  const failed = status.retention?.last?.error ?? null;
  const legal = status.retention?.legal_holds?.trouble ?? null;
  const fleet = status.fleet ? fleetTroubles(status.fleet) : [];
  const silence = status.silence ? [`${status.silence.what}. ${status.silence.next}`] : [];
  const unrecorded = status.bans?.unrecorded ?? [];
  const bans =
    status.bans === null || unrecorded.length === 0
      ? []
      : [`${unreported(unrecorded, status.bans.path)}. ${UNREPORTED_NEXT}`];
  const refused = status.config_refused ? [refusedConfigText(status.config_refused)] : [];
  return [
    ...refused,
    ...sources,
    ...sinks,
    ...silence,
    ...bans,
    ...api,
    ...fleet,
    ...(failed === null ? [] : [`retention: ${failed}`]),
    ...(legal === null || legal === failed ? [] : [`legal holds: ${legal}`]),
  ];
}

export function refusedConfigText({ message }: RefusedConfig): string {
  return `new configuration refused: ${message}. The one before is in effect, a restart would fail`;
}
