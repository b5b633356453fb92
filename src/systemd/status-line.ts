import type { RefusedConfig } from '../config/reload-result.js';
import type { ShipperStatus } from '../shipping/shipper.js';

/** The status line for `systemctl status`. */
export function statusLine(status: ShipperStatus | null, refused: RefusedConfig | null): string {
  if (status === null) return 'starting';
  const sinks = Object.values(status.sinks);
  const down = sinks.filter((sink) => sink.state === 'backing off').length;
  const lag = Math.max(0, ...sinks.map((sink) => sink.lag_events));
  const postern = status.sources.postern?.message ?? 'not looked yet';
  const configuration = refused === null ? '' : `new configuration rejected: ${refused.message}; `;
  return `${configuration}Postern: ${postern}; ${sinks.length} sinks, ${down === 0 ? 'all up' : `${down} down`}; ${lag} events to ship`;
}
