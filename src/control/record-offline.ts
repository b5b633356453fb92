import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createRecorder } from '../recorder/recorder.js';
import { asOwner, openOwn } from '../shipping/as-owner.js';
import { takeLock } from '../shipping/lock.js';
import { reportedEntry } from './reported-entry.js';

/**
 * Records what a command did while no daemon runs, with the lock of the state, so that no daemon starts meanwhile. Without a state.db,
 * nothing is recorded: a file that this command creates would belong to the wrong user. A state.db of another version stays as it is: the
 * daemon migrates it.
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
      if (Number(db.pragma('user_version', { simple: true })) === 0) return; // No daemon has set it up.
      createRecorder(db).record(reportedEntry(body, name));
    } finally {
      db.close();
    }
  } finally {
    lock.release();
  }
}
