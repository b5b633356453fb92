import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../errors.js';
import { createRecorder } from '../recorder/recorder.js';
import { takeLock } from '../shipping/lock.js';
import { asOwner } from '../shipping/owned.js';
import { State } from '../shipping/state.js';
import { TokenStore } from './tokens.js';

/**
 * The tokens while no daemon runs: with the lock of its state, so that none begins meanwhile, and as the owner of its state.
 *
 * @param directory that of state.db, which must be there: made here it would belong to the wrong user
 * @throws AuditdError `LOCKED`, `NOT_RUNNING`, or what `work` throws
 */
export function withTokens<T>(directory: string, work: (tokens: TokenStore) => T): T {
  return asOwner(directory, () => withState(directory, work));
}

function withState<T>(directory: string, work: (tokens: TokenStore) => T): T {
  if (!existsSync(join(directory, 'state.db'))) {
    throw new AuditdError(
      'NOT_RUNNING',
      `The daemon has never run: there is no ${join(directory, 'state.db')} yet. Start it: systemctl start postern-auditd`,
    );
  }
  const lock = takeLock(directory);
  try {
    const state = new State(directory);
    try {
      return work(new TokenStore({ db: state.db, clock: Date.now, recorder: createRecorder(state.db) }));
    } finally {
      state.close();
    }
  } finally {
    lock.release();
  }
}
