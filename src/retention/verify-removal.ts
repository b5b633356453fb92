import { existsSync, statfsSync } from 'node:fs';
import { AuditdError } from '../errors.js';
import type { Purged } from './purge/protocol.js';

/** @throws AuditdError `PURGE_FAILED` if SQLite removed none of the rows that were to be removed */
export function checkRemoved({ deleted, kept }: Purged): void {
  if (deleted > 0 || kept === 0) return;
  const rows = kept === 1 ? '1 row' : `${kept} rows`;
  throw new AuditdError(
    'PURGE_FAILED',
    `SQLite has deleted none of ${rows} that were to be removed, because a trigger of the table keeps them; they are in an archive, and are not archived again`,
    { next: 'Run postern-auditd check, which names the trigger, and change or drop it' },
  );
}

/** @throws AuditdError `ARCHIVE_FAILED` if the disk of the archives has too little free space */
export function checkSpace(directory: string, minFree: number): void {
  if (!existsSync(directory)) return;
  const { bavail, bsize, blocks } = statfsSync(directory);
  const least = Math.min(minFree, 0.05 * blocks * bsize);
  if (bavail * bsize >= least) return;
  const free = Math.floor((bavail * bsize) / 2 ** 20);
  throw new AuditdError(
    'ARCHIVE_FAILED',
    `${directory} has ${free} MiB left, less than min_free: nothing is archived or deleted`,
    { next: 'Make room there, or name another retention.archive.directory' },
  );
}
