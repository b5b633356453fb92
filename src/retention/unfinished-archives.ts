import { AuditdError } from '../errors.js';
import { contentsOf } from './archive/archive-files.js';
import type { Manifest } from './archive/manifest.js';
import { type ChainHead, chainHeadOf, readManifest } from './archive/manifest-chain.js';
import { readLines } from './archive/read.js';
import { type ArchivedRow, LineCodec } from './archive/row-codec.js';

/**
 * Up to which archive, in the order of the chain, every row that was to be deleted has been. Saved in state.db after the
 * deletion: an archive behind it may have rows that are still in the table, because a run ended in between.
 */
export interface PurgedNote {
  readonly sequence: number;
  /** Of its manifest: another chain may have been begun. */
  readonly sha256: string;
  /** Where it was; missing from the note of a release that did not say. */
  readonly directory?: string;
}

/**
 * Whether the archives of the rows that are gone are still in their directory. Where a disk is not mounted a second chain would begin, and
 * the first be hidden or the second one be when it is mounted. Another directory than before begins a chain of its own.
 *
 * @throws AuditdError `ARCHIVE_FAILED` if they are not; `ARCHIVE_BROKEN`
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
 * Archives whose rows may still be in the table, in the order of the chain. After the loss of state.db, or in another directory, these
 * are all: that costs a look at each, and nothing else.
 *
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function pendingArchives(directory: string, note: PurgedNote | null): Manifest[] {
  const { manifests } = contentsOf(directory);
  const read = (name: string) => readManifest(directory, name).manifest;
  const at = note === null ? undefined : manifests.get(note.sequence);
  const last = Math.max(0, ...manifests.keys());
  // The one that was noted may have been removed because of its age.
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
