import { AuditdError } from '../errors.js';
import { contentsOf } from './archive/archive-files.js';
import type { Manifest } from './archive/manifest.js';
import { type ChainHead, chainHeadOf, readManifest } from './archive/manifest-chain.js';
import { readLines } from './archive/read.js';
import { type ArchivedRow, LineCodec } from './archive/row-codec.js';

/**
 * The archive, in chain order, up to which every deletable row is deleted. Saved in state.db after the deletion: rows of later
 * archives may still be in the table, because a run stopped in between.
 */
export interface PurgedNote {
  readonly sequence: number;
  /** Of its manifest: a new chain may have been started. */
  readonly sha256: string;
  /** Its directory; missing from the note of a release that did not save it. */
  readonly directory?: string;
}

/**
 * Checks that the archives of deleted rows are still in their directory. If their disk is not mounted, a run would start a second chain
 * there, and mounting the disk would hide it. A different directory starts a chain of its own.
 *
 * @throws AuditdError `ARCHIVE_FAILED` if they are missing; `ARCHIVE_BROKEN`
 */
export function checkChainContinues(directory: string, note: PurgedNote | null, begin: ChainHead): void {
  if (note === null || note.directory !== directory) return;
  const { sequence } = chainHeadOf(directory, begin);
  if (sequence >= note.sequence) return;
  const has = sequence === 0 ? 'has no archives' : `ends with archive ${sequence}`;
  throw new AuditdError(
    'ARCHIVE_FAILED',
    `${directory} ${has}, but rows up to archive ${note.sequence} were removed from the table`,
    {
      next: 'Mount its disk, or put the archives back; if they are lost, name another directory under retention.archive.directory, where a new chain begins',
    },
  );
}

/**
 * Archives whose rows may still be in the table, in chain order. After the loss of state.db, or in another directory, these are all
 * archives: each is then checked once.
 *
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function pendingArchives(directory: string, note: PurgedNote | null): Manifest[] {
  const { manifests } = contentsOf(directory);
  const read = (name: string) => readManifest(directory, name).manifest;
  const at = note === null ? undefined : manifests.get(note.sequence);
  const last = Math.max(0, ...manifests.keys());
  // The noted archive may have been removed because of its age.
  const known = note !== null && (at === undefined ? last >= note.sequence : read(at).sha256 === note.sha256);
  return [...manifests]
    .filter(([sequence]) => !known || sequence > note.sequence)
    .map(([, name]) => read(name));
}

/** The rows of an archive, a block at a time. @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
export function* rowsOf(directory: string, manifest: Manifest): Generator<ArchivedRow[], void> {
  const codec = new LineCodec(manifest.columns.map(({ name }) => name));
  for (const lines of readLines(directory, manifest)) yield lines.map((line) => codec.decode(line));
}
