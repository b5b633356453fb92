import type { KeyObject } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { readManifest } from './chain.js';
import { ANCHOR, contentsOf, placeFile, sequenceOf, syncDirectory, trouble } from './directory.js';
import { type Anchor, type Manifest, SCHEMA_VERSION, seal } from './manifest.js';

/**
 * Up to which archive they may go: the longest run from the oldest on of which every one is past its age, so that what stays
 * is a chain. An archive's age counts from when it was made, or from its newest row where that is later: the rows were in the
 * table until then, and would go for good in the run that archived them if their own age counted.
 *
 * @param archives the oldest first
 * @param keep milliseconds; null: for ever
 * @param now milliseconds since the epoch
 * @returns its sequence; 0 if none may go
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

/**
 * Removes the archives up to one of them. Where the chain begins from then on is written down first, so that whatever
 * happens in between, the rest can be verified; `tidyArchives` finishes it.
 *
 * @param sign the key that archives are signed with
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function removeArchives(directory: string, upTo: number, sign: KeyObject | null, now: number): void {
  const contents = contentsOf(directory);
  const name = contents.manifests.get(upTo);
  if (name === undefined) return;
  const { sha256 } = readManifest(directory, name);
  const anchor = {
    schema_version: SCHEMA_VERSION,
    sequence: upTo,
    previous_sha256: sha256,
    created: new Date(now).toISOString(),
  };
  try {
    placeFile(directory, ANCHOR, seal<Anchor>(anchor, sign).text);
    for (const file of [...contents.files, ...contents.manifests.values()])
      if ((sequenceOf(file) ?? 0) <= upTo) rmSync(join(directory, file), { force: true });
    syncDirectory(directory);
  } catch (error) {
    throw trouble(`${directory} can't be changed`, error);
  }
}
