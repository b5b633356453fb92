import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError, codeOf, messageOf } from '../errors.js';
import type Database from '../load-sqlite.js';
import { daemonCommand } from '../next-steps.js';
import { openOwn } from './as-owner.js';

export interface Lock {
  release(): void;
}

/** Keeps connections referenced: the garbage collector closes any other one, and releases its lock. */
const HELD = new Set<Database>();

/**
 * Takes the lock of a state directory: an exclusive SQLite transaction on `lock.db`, which the kernel frees on any
 * death of the process. Two daemons can therefore never write one log or one set of cursors.
 *
 * @throws AuditdError `LOCKED` if another process holds it, `STATE_UNUSABLE` if the directory can't be used
 */
export function takeLock(directory: string): Lock {
  const path = join(directory, 'lock.db');
  let db: Database | undefined;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o750 });
    db = openOwn(directory, 'lock.db', { timeout: 0 });
    db.pragma('journal_mode = MEMORY');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    if (error instanceof AuditdError) throw error;
    if (codeOf(error)?.startsWith('SQLITE_BUSY') === true) {
      throw new AuditdError('LOCKED', `Another postern-auditd works with ${directory} (it holds ${path})`, {
        next: `Stop it first: ${daemonCommand('stop')}`,
        cause: error,
      });
    }
    throw new AuditdError(
      'STATE_UNUSABLE',
      `The state directory ${directory} can't be used: ${messageOf(error)}`,
      {
        next: 'Check that it exists and that this user may write to it, or name another under state:',
        cause: error,
      },
    );
  }
  const held = db;
  HELD.add(held);
  return {
    release() {
      HELD.delete(held);
      if (held.open) held.close();
    },
  };
}
