import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../errors.js';
import { daemonCommand } from '../next-steps.js';
import { asOwner } from '../shipping/as-owner.js';
import { takeLock } from '../shipping/lock.js';
import { State } from '../shipping/state.js';

/**
 * Opens the state while no daemon runs: as its owner, and with its lock, so that no daemon starts meanwhile.
 *
 * @param directory that of state.db, which must exist: a file that this command creates would belong to the wrong user
 * @throws AuditdError `LOCKED`, `NOT_RUNNING`, or what `work` throws
 */
export function withOwnState<T>(directory: string, work: (state: State) => T): T {
  return asOwner(directory, () => withState(directory, work));
}

function withState<T>(directory: string, work: (state: State) => T): T {
  if (!existsSync(join(directory, 'state.db'))) {
    throw new AuditdError(
      'NOT_RUNNING',
      `The daemon has never run: there is no ${join(directory, 'state.db')} yet`,
      { next: `Start it: ${daemonCommand('start')}` },
    );
  }
  const lock = takeLock(directory);
  try {
    const state = new State(directory);
    try {
      return work(state);
    } finally {
      state.close();
    }
  } finally {
    lock.release();
  }
}
