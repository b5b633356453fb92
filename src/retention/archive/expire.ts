import type { KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../../errors.js';
import type { Removal } from './anchor.js';
import { ANCHOR, archiveFailed, contentsOf, fsyncDirectory, placeFile, sequenceOf } from './archive-files.js';
import { type Anchor, type Manifest, SCHEMA_VERSION, seal } from './manifest.js';
import { type ChainHead, readManifest } from './manifest-chain.js';

/**
 * The last archive that may be removed: all from the oldest up to it are past their age, so that the remaining ones form a chain. An
 * archive's age counts from its creation, or from its newest row if that is later. Its rows were in the table until then: if their own age
 * counted, the run that archived them would remove them for good.
 *
 * @param archives the oldest first
 * @param keep milliseconds; null: for ever
 * @param now milliseconds since the epoch
 * @returns its sequence; 0 if none may be removed
 */
export function expiredUpTo(
  archives: ReadonlyArray<Pick<Manifest, 'sequence' | 'time' | 'created'>>,
  keep: number | null,
  now: number,
): number {
  let upTo = 0;
  for (const { sequence, time, created } of archives) {
    const newest = Math.max(
      Date.parse(created),
      time === null ? Number.NEGATIVE_INFINITY : Date.parse(time.last),
    );
    if (keep === null || !(newest < now - keep)) break;
    upTo = sequence;
  }
  return upTo;
}

/** An archive past its age, as recorded and reported. */
export interface ExpiredArchive {
  readonly sequence: number;
  /** SHA-256 of its manifest file. */
  readonly sha256: string;
  readonly file: string;
  readonly source: Manifest['source'];
  readonly month: string;
  readonly count: number;
}

export function expiredArchiveOf({
  sequence,
  file,
  source,
  month,
  count,
  sha256,
}: Expirable): ExpiredArchive {
  return { sequence, sha256, file, source, month, count };
}

export type Expirable = Omit<Manifest, 'sha256'> & {
  /** Of the manifest file. */
  readonly sha256: string;
};

/**
 * The archives that may be removed at their age, the oldest first: those to which an archive recorded in state.db is linked, directly or
 * over others. So a rewritten manifest can't make an archive older.
 *
 * @param begin the newest removed archive by the records
 * @param known the newest archive whose rows are known to be deleted from the table, with its manifest's own hash
 * @returns an empty list if a link is broken: `archive verify` names it
 * @throws AuditdError `ARCHIVE_FAILED`
 */
export function expirable(directory: string, begin: ChainHead, known: ChainHead): Expirable[] {
  const linked: Expirable[] = [];
  let next = begin;
  for (const [sequence, name] of contentsOf(directory).manifests) {
    if (sequence <= begin.sequence || sequence > known.sequence) continue;
    const read = readSound(directory, name);
    if (read === null || read.manifest.sequence !== sequence || sequence !== next.sequence + 1) return [];
    if (read.manifest.previous_sha256 !== next.sha256) return [];
    if (sequence === known.sequence && read.manifest.sha256 !== known.sha256) return [];
    linked.push({ ...read.manifest, sha256: read.sha256 });
    next = { sequence, sha256: read.sha256 };
  }
  return next.sequence === known.sequence ? linked : [];
}

function readSound(directory: string, name: string): ReturnType<typeof readManifest> | null {
  try {
    return readManifest(directory, name);
  } catch (error) {
    if (error instanceof AuditdError && error.code === 'ARCHIVE_BROKEN') return null;
    throw error;
  }
}

/**
 * Removes the archives up to a given one, after the removal is recorded. Writes the new beginning of the chain first, and removes the
 * manifest of each archive last. `repairArchives` finishes an interrupted removal.
 *
 * @param removal its record
 * @param sign the key that archives are signed with
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function removeArchives(
  directory: string,
  removal: Pick<Removal, 'sequence' | 'sha256' | 'time'>,
  sign: KeyObject | null,
): void {
  placeAnchor(directory, removal, sign);
  removeUpTo(directory, removal.sequence);
}

/** Writes the anchor, which says where the chain begins. @throws AuditdError `ARCHIVE_FAILED` */
export function placeAnchor(
  directory: string,
  { sequence, sha256, time }: Pick<Removal, 'sequence' | 'sha256' | 'time'>,
  sign: KeyObject | null,
): void {
  if (sha256 === null) return;
  const anchor = { schema_version: SCHEMA_VERSION, sequence, previous_sha256: sha256, created: time };
  try {
    placeFile(directory, ANCHOR, seal<Anchor>(anchor, sign).text);
  } catch (error) {
    throw archiveFailed(`${directory} can't be changed`, error);
  }
}

/** @throws AuditdError `ARCHIVE_FAILED` */
export function removeUpTo(directory: string, upTo: number): void {
  const { files, manifests } = contentsOf(directory);
  const isManifest = new Set(manifests.values());
  const names = [...files, ...manifests.values()]
    .map((name) => ({ name, sequence: sequenceOf(name) ?? 0 }))
    .filter(({ sequence }) => sequence > 0 && sequence <= upTo)
    .sort(
      (a, b) => a.sequence - b.sequence || Number(isManifest.has(a.name)) - Number(isManifest.has(b.name)),
    );
  if (names.length === 0) return;
  try {
    for (const { name } of names) rmSync(join(directory, name), { force: true });
    fsyncDirectory(directory);
  } catch (error) {
    throw archiveFailed(`${directory} can't be changed`, error);
  }
}
