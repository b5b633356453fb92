import type { RefusedConfig } from '../../config/reload-result.js';
import type { ReportedStatus } from '../../control/status.js';
import { UNREPORTED_NEXT, unreported } from '../../fail2ban/compare-bans.js';
import { fleetTroubles } from '../fleet/render.js';

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
  return `new configuration rejected: ${message}. The previous one stays active, but a restart would fail`;
}
