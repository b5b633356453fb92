import { z } from 'zod';
import { AuditdError } from '../errors.js';
import { daemonCommand } from '../next-steps.js';
import type { NewEntry } from '../recorder/recorder.js';

const told = z.strictObject({
  action: z.enum(['daemon.export', 'daemon.archive_restore', 'daemon.state_backup', 'daemon.notify_test']),
  details: z.record(z.string().max(64), z.unknown()),
});

const LONGEST = 64 * 1024;

/**
 * Checks the report of a command and adds the name that its user claims.
 *
 * @throws AuditdError `USAGE`
 */
export function reportedEntry(body: unknown, name: string | null): NewEntry {
  const parsed = told.safeParse(body);
  if (!parsed.success || JSON.stringify(body).length > LONGEST)
    throw new AuditdError('USAGE', 'Nothing was recorded: the daemon does not know this report', {
      next: `Use the command and the daemon of one version: ${daemonCommand('restart')}`,
    });
  const { action, details } = parsed.data;
  const by = { kind: 'command', name, claimed: true };
  return { action, ...(name === null ? {} : { user: { name } }), details: { ...details, by } };
}
