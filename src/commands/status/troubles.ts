import type { RefusedConfig } from '../../config/reload-result.js';
import type { ReportedStatus } from '../../control/status.js';
import { type Diagnosis, explained } from '../../errors.js';
import { UNREPORTED_NEXT, unreported } from '../../fail2ban/compare-bans.js';
import { fleetTroubles } from '../fleet/render.js';

/** What needs attention; a Postern that is stopped or not there yet does not. */
export function troubles(status: ReportedStatus): Diagnosis[] {
  const sources = Object.entries(status.sources)
    .filter(([, { state }]) => !['reading', 'stopped', 'missing', 'starting'].includes(state))
    .map(([name, { what, next = null, message }]) => of(`source ${name}`, what ?? message, next));
  const sinks = Object.entries(status.sinks)
    .filter(([, { state }]) => state === 'backing off')
    .map(([name, { last_error: error }]) =>
      of(`sink ${name}`, error?.what ?? error?.message ?? 'down', error?.next ?? null),
    );
  const { silence, retention, bans, api, alerts } = status;
  const failed = diagnosisIn(retention?.last?.error, retention?.last?.problem);
  const legal = diagnosisIn(retention?.legal_holds?.trouble, retention?.legal_holds?.problem);
  const unrecorded = bans?.unrecorded ?? [];
  return [
    ...(status.config_refused ? [refusedConfig(status.config_refused)] : []),
    ...sources,
    ...sinks,
    ...(silence ? [{ what: silence.what, next: silence.next }] : []),
    ...(bans === null || unrecorded.length === 0
      ? []
      : [{ what: unreported(unrecorded, bans.path), next: UNREPORTED_NEXT }]),
    ...(alerts?.error
      ? [of('alerts', `not recorded: ${alerts.error}`, "Look at the daemon's log; it retries each second")]
      : []),
    ...(api?.state === 'retrying' ? [{ what: api.error ?? 'the API does not listen', next: null }] : []),
    ...(status.fleet ? fleetTroubles(status.fleet) : []),
    ...(failed === null ? [] : [of('retention', failed.what, failed.next)]),
    ...(legal === null || legal.what === failed?.what ? [] : [of('legal holds', legal.what, legal.next)]),
  ];
}

/** @param text of a version that did not report the parts */
function diagnosisIn(text: string | null | undefined, parts: Diagnosis | null | undefined): Diagnosis | null {
  return parts ?? (text == null ? null : { what: text, next: null });
}

function of(subject: string, what: string, next: string | null = null): Diagnosis {
  return { what: `${subject}: ${what}`, next };
}

function refusedConfig({ message }: RefusedConfig): Diagnosis {
  return {
    what: `new configuration rejected: ${message}`,
    next: 'Correct the file before a restart, which would fail; the previous one stays active',
  };
}

export function refusedConfigText(refused: RefusedConfig): string {
  const { what, next } = refusedConfig(refused);
  return explained(what, next);
}
