import { z } from 'zod';
import { SEVERITIES } from '../audit/catalog.js';

/** Which events a sink receives; a missing key matches every event. */
export const eventsFilter = z
  .strictObject({
    category: z
      .array(z.string())
      .describe('Only these categories: auth, proxy_host, … (docs/reference/EVENTS.md lists them).')
      .optional(),
    action: z
      .array(z.string())
      .describe('Only these actions, by canonical name (auth.login_failure) or by the word in the row.')
      .optional(),
    outcome: z
      .array(z.enum(['success', 'failure', 'unknown']))
      .describe('Only these outcomes.')
      .optional(),
    min_severity: z.enum(SEVERITIES).describe('Only events at least this severe.').optional(),
    server: z.array(z.string()).describe('Only events of these servers.').optional(),
    source: z
      .array(z.enum(['postern', 'auditd']))
      .describe("Only Postern's own events, or only the daemon's.")
      .optional(),
  })
  .describe('Which events the sink receives; an event must match all keys. Left out: every event.');

export const everySink = {
  events: eventsFilter.optional(),
};

/** `required` of a sink. */
export function required(isRequired: boolean) {
  return z
    .boolean()
    .default(isRequired)
    .describe('Retention never removes a row that a required sink has not delivered.');
}

/** `start` of a sink. */
export function startAt(first: 'beginning' | 'now') {
  return z
    .enum(['beginning', 'now'])
    .default(first)
    .describe('Where the sink begins at its very first start: at the oldest row, or with new rows only.');
}
