import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createRecorder } from '../recorder/recorder.js';
import { asOwner, openOwn } from '../shipping/as-owner.js';
import { takeLock } from '../shipping/lock.js';
import { reportedEntry } from './reported-entry.js';

/**
 * Records what a command did while no daemon runs: with the lock of its state, so that none begins meanwhile. Without a state.db nothing is
 * recorded: made here it would belong to the wrong user. One of another version stays as it is: the daemon brings it forward.
 *
 * @throws AuditdError `LOCKED`, and what SQLite throws
 */
export function recordOffline(directory: string, body: unknown, name: string | null): void {
  asOwner(directory, () => {
    if (existsSync(join(directory, 'state.db'))) recordAsOwner(directory, body, name);
  });
}

function recordAsOwner(directory: string, body: unknown, name: string | null): void {
  const lock = takeLock(directory);
  try {
    const db = openOwn(directory, 'state.db', { fileMustExist: true, timeout: 5_000 });
    try {
      if (Number(db.pragma('user_version', { simple: true })) === 0) return; // no daemon has made it
      createRecorder(db).record(reportedEntry(body, name));
    } finally {
      db.close();
    }
  } finally {
    lock.release();
  }
}
