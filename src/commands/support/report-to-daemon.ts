import type { Config } from '../../config/schema.js';
import { messageOf } from '../../errors.js';
import { claimingUser } from './claiming-user.js';

/** An action of a command that belongs in the audit log. */
export interface ReportedAction {
  readonly action: 'daemon.export' | 'daemon.archive_restore' | 'daemon.state_backup';
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * Records an action through the daemon, or in state.db when no daemon runs. The action is done already: a failure to record it is printed
 * on standard error and does not change the exit code. Nothing is recorded on a host where no daemon has ever run.
 */
export async function reportAction(
  { control, state }: Pick<Config, 'control' | 'state'>,
  action: ReportedAction,
): Promise<void> {
  const { controlRequest, isAbsent } = await import('../../control/client.js');
  const by = claimingUser();
  try {
    try {
      await controlRequest(control, 'POST', '/told', action, { 'x-user': by ?? '' });
    } catch (error) {
      if (!isAbsent(error)) throw error;
      const { recordOffline } = await import('../../control/record-offline.js');
      recordOffline(state, action, by);
    }
  } catch (error) {
    process.stderr.write(
      `postern-auditd: ${action.action} was not recorded in the audit log: ${messageOf(error)}\n`,
    );
  }
}
