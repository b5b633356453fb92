import { readManifest } from './archive/chain.js';
import { contentsOf } from './archive/directory.js';
import type { Manifest } from './archive/manifest.js';
import { readLines } from './archive/read.js';
import { type ArchivedRow, LineCodec } from './archive/row.js';

/**
 * Up to which archive, in the order of the chain, every row that was to be deleted has been. Saved in state.db after the
 * deletion: an archive behind it may have rows that are still in the table, because a run ended in between.
 */
export interface PurgedNote {
  readonly sequence: number;
  /** Of its manifest: another chain may have been begun. */
  readonly sha256: string;
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
