import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createRecorder } from '../recorder/recorder.js';
import { takeLock } from '../shipping/lock.js';
import { State } from '../shipping/state.js';
import { toldEntry } from './told.js';

/**
 * Records what a command did while no daemon runs: with the lock of its state, so that none begins meanwhile. Without a state.db nothing is
 * recorded: made here it would belong to the wrong user.
 *
 * @throws AuditdError `LOCKED`, `STATE_UNUSABLE`, `STATE_NEWER`
 */
export function recordOffline(directory: string, body: unknown, name: string | null): void {
  if (!existsSync(join(directory, 'state.db'))) return;
  const lock = takeLock(directory);
  try {
    const state = new State(directory);
    try {
      createRecorder(state.db).record(toldEntry(body, name));
    } finally {
      state.close();
    }
  } finally {
    lock.release();
  }
}
