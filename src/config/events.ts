import { z } from 'zod';

/** Which events a sink takes; a key left out lets everything through. */
export const eventsFilter = z.strictObject({
  category: z.array(z.string()).optional(),
  action: z.array(z.string()).optional(),
  outcome: z.array(z.enum(['success', 'failure', 'unknown'])).optional(),
  min_severity: z.enum(['alert', 'critical', 'error', 'warning', 'notice', 'info']).optional(),
  server: z.array(z.string()).optional(),
  source: z.array(z.enum(['postern', 'auditd'])).optional(),
});

export const everySink = {
  events: eventsFilter.optional(),
};
