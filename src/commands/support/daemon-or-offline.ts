import type { Contacts } from '../../config/load.js';
import { claimingUser } from './claiming-user.js';

/** What is asked of the control socket. */
export interface ControlCall {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}

/**
 * The daemon has the state; only where none listens may the command have it.
 *
 * @param without what the command does itself then, in the name that is claimed
 * @throws AuditdError what the daemon says, why the configuration can't be taken, or what `without` throws
 */
export async function byDaemonOrOffline<T>(
  { control, refused }: Pick<Contacts, 'control' | 'refused'>,
  { method, path, body }: ControlCall,
  without: (by: string | null) => T | Promise<T>,
): Promise<T> {
  const { controlRequest, isAbsent } = await import('../../control/client.js');
  const by = claimingUser();
  try {
    return (await controlRequest(control, method, path, body, { 'x-user': by ?? '' })) as T;
  } catch (error) {
    if (!isAbsent(error)) throw error;
    if (refused !== null) throw refused; // whose state it would be is not known
    return without(by);
  }
}
