import { statSync } from 'node:fs';
import { AuditdError } from '../../errors.js';

/**
 * Files beside the database that belong to another user lock Postern out. SQLite as root gives them to the database's owner.
 *
 * @param command for the message
 * @throws AuditdError `USAGE`; a missing database has no owner
 */
export function mustOwn(database: string, command: string): void {
  const uid = statSync(database, { throwIfNoEntry: false })?.uid;
  const own = process.geteuid?.() ?? 0;
  if (uid === undefined || own === 0 || own === uid) return;
  throw new AuditdError('USAGE', `${database} belongs to uid ${uid}, and this is uid ${own}`, {
    next: `Run it as its owner: sudo -u '#${uid}' postern-auditd ${command}`,
  });
}
