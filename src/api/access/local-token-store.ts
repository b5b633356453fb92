import { withOwnState } from '../../control/offline-state.js';
import { createRecorder } from '../../recorder/recorder.js';
import { TokenStore } from './tokens.js';

/**
 * The tokens while no daemon runs: with the lock of its state, so that none begins meanwhile, and as the owner of its state.
 *
 * @param directory that of state.db, which must be there: made here it would belong to the wrong user
 * @throws AuditdError `LOCKED`, `NOT_RUNNING`, or what `work` throws
 */
export function withTokens<T>(directory: string, work: (tokens: TokenStore) => T): T {
  return withOwnState(directory, ({ db }) =>
    work(new TokenStore({ db, clock: Date.now, recorder: createRecorder(db) })),
  );
}
