import type { Config } from '../../config/schema.js';
import { messageOf } from '../../errors.js';
import { claimingUser } from './claiming-user.js';

/** What a command has done that the audit log has to know of. */
export interface ReportedAction {
  readonly action: 'daemon.export' | 'daemon.archive_restore';
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * Has it recorded, by the daemon, or in state.db where none runs. What was done is done: that it could not be recorded is said on standard
 * error, and changes no exit code. Where no daemon has ever run there is nothing to record it in.
 */
export async function tell(
  { control, state }: Pick<Config, 'control' | 'state'>,
  told: ReportedAction,
): Promise<void> {
  const { controlRequest, isAbsent } = await import('../../control/client.js');
  const by = claimingUser();
  try {
    try {
      await controlRequest(control, 'POST', '/told', told, { 'x-user': by ?? '' });
    } catch (error) {
      if (!isAbsent(error)) throw error;
      const { recordOffline } = await import('../../control/record-offline.js');
      recordOffline(state, told, by);
    }
  } catch (error) {
    process.stderr.write(
      `postern-auditd: ${told.action} was not recorded in the audit log: ${messageOf(error)}\n`,
    );
  }
}
