import type { AuditEvent } from '../audit/event.js';
import { bodies } from './bodies.js';
import { formatEcs } from './ecs.js';
import { fitBody } from './fit.js';

const SMALL = 1_024;

/** What sinks do with an event, in every format, once whole and once cut to size. */
export function formatOnce(event: AuditEvent): void {
  formatEcs(event);
  for (const body of Object.values(bodies)) {
    try {
      body.format(event, {});
      fitBody(event, SMALL, body, {});
    } catch {
      // The next one is tried all the same.
    }
  }
}
