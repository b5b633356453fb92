import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../errors.js';
import type Database from '../load-sqlite.js';
import { VERSION } from '../version.js';
import { openOwn } from './as-owner.js';
import { readNote } from './state-queries.js';

/** The note with the version of the program that last opened state.db for writing. */
export const PROGRAM_NOTE = 'program';

/**
 * Refuses a state.db that a newer program has written: its tables may differ from what this one expects.
 *
 * @param path of state.db, for the message; its copies from before each migration are beside it
 * @param known the newest version that this program knows
 * @returns the version of state.db
 * @throws AuditdError `STATE_NEWER`
 */
export function requireKnownVersion(db: Database, path: string, known: number): number {
  const version = Number(db.pragma('user_version', { simple: true }));
  if (version <= known) return version;
  const copy = `${path}.v${known}`;
  const again = 'Install that version or a later one again';
  const next = existsSync(copy)
    ? `${again}, or stop the daemon and put back the copy ${copy} of ${statSync(copy).mtime.toISOString()}, with which this version begins where it ended then (docs/guide/INSTALL.md, Going back)`
    : again;
  throw new AuditdError(
    'STATE_NEWER',
    `${path} was written by a newer postern-auditd${programOf(db)} (version ${version} of state.db; this is postern-auditd ${VERSION}, which knows ${known})`,
    { next },
  );
}

/** As `requireKnownVersion`, of the state.db in a directory, which must exist. @throws AuditdError `STATE_NEWER`; what SQLite throws */
export function stateVersionIn(directory: string, known: number, timeout = 5_000): number {
  const db = openOwn(directory, 'state.db', { readonly: true, timeout });
  try {
    return requireKnownVersion(db, join(directory, 'state.db'), known);
  } finally {
    db.close();
  }
}

/** Earlier programs, and perhaps later ones, do not say who they are. */
function programOf(db: Database): string {
  try {
    const program = readNote(db, PROGRAM_NOTE);
    return program === null ? '' : `, ${program}`;
  } catch {
    return '';
  }
}
