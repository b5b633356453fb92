import type { Config } from '../config/schema.js';
import { createRecorder } from '../recorder/recorder.js';
import { type LegalHoldStore, legalHoldStoreOf } from '../retention/legal-hold-store.js';
import { withOwnState } from './offline-state.js';

/** Legal holds while no daemon runs. @throws as `withOwnState` */
export function withLegalHoldStore<T>(
  { state: directory, retention }: Pick<Config, 'state' | 'retention'>,
  work: (book: LegalHoldStore) => T,
): T {
  return withOwnState(directory, (state) => {
    const recorder = createRecorder(state.db);
    const write = (entry: Parameters<typeof recorder.record>[0]) => void recorder.record(entry);
    return work(legalHoldStoreOf({ state, clock: Date.now, write }, retention.archive));
  });
}
