import type { Contacts } from '../../config/load.js';
import { claimingUser } from './claiming-user.js';

/** A request to the control socket. */
export interface ControlCall {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}

/**
 * Asks the daemon, which owns the state. The command opens the state itself only when no daemon listens.
 *
 * @param without does it without the daemon, in the name of the claimed user
 * @throws AuditdError of the daemon, of an invalid configuration, or of `without`
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
    if (refused !== null) throw refused; // which state it would be is unknown
    return without(by);
  }
}
