import type { KeyObject } from 'node:crypto';
import { AuditdError, messageOf } from '../../errors.js';
import { type ArchiveContents, contentsOf, sequenceOf } from './archive-files.js';
import { type Anchor, checkSigned, Unsealed } from './manifest.js';
import { type ChainHead, readAnchor, readManifest } from './manifest-chain.js';

/**
 * The record in state.db of removed archives, to compare an anchor with. Anyone who may write to the directory can forge an anchor, but not
 * state.db.
 */
export interface Removal {
  readonly directory: string;
  /** Number of the newest removed archive; 0 if none was removed. */
  readonly sequence: number;
  /** SHA-256 of its manifest file; null if none was removed. */
  readonly sha256: string | null;
  /** When the removal was decided or its anchor adopted; ISO 8601. */
  readonly time: string;
  /** Null if the daemon decided the removal; otherwise how an anchor without a recorded decision was adopted. */
  readonly adopted: 'upgrade' | 'command' | null;
}

/** Where the chain begins by the records, and whether the anchor in the directory counts. */
export interface AnchorStanding {
  /** The newest removed archive by the records. */
  readonly begin: ChainHead;
  readonly record: Removal | null;
  /** The anchor in the directory, if readable. */
  readonly anchor: Anchor | null;
  /** Whether a record confirms the anchor. */
  readonly matches: boolean;
  /** Why the anchor does not count; null if it counts or does not exist. */
  readonly refused: string | null;
}

export const NOT_RECORDED = 'a decision to remove archives up to there is not recorded in state.db';

/** @param records all records of state.db, the oldest first @throws AuditdError `ARCHIVE_FAILED` */
export function readAnchorStanding(
  directory: string,
  records: readonly Removal[],
  contents: ArchiveContents = contentsOf(directory),
): AnchorStanding {
  const { anchor, why } = anchorIn(directory, contents);
  const match = anchor === null ? null : anchorRecordOf(anchor, records);
  // An empty directory (a disk that is not mounted) continues no chain.
  const isEmpty = contents.manifests.size === 0 && !contents.anchor;
  const latest = isEmpty
    ? null
    : (records.findLast((one) => one.directory === directory && one.sequence > 0) ?? null);
  const record = (latest?.sequence ?? 0) > (match?.sequence ?? 0) ? latest : match;
  return {
    begin: { sequence: record?.sequence ?? 0, sha256: record?.sha256 ?? null },
    record,
    anchor,
    matches: match !== null,
    refused: why ?? (anchor === null || match !== null ? null : NOT_RECORDED),
  };
}

/** The newest record that confirms the anchor. */
export function anchorRecordOf(anchor: Anchor, records: readonly Removal[]): Removal | null {
  const says = (one: Removal) => one.sequence === anchor.sequence && one.sha256 === anchor.previous_sha256;
  return records.findLast(says) ?? null;
}

/**
 * Why an anchor without a record can't be adopted; null if it can. It can be adopted if that removes nothing: no archive that it replaces
 * exists, and the first existing archive is linked to it.
 *
 * @param key that archives are signed with. An anchor older than the key has no signature; an existing signature must be valid.
 * @param end of the chain as recorded for this directory; null if there is no record
 */
export function whyNotAdopted(
  directory: string,
  anchor: Anchor,
  { key, end }: { readonly key: KeyObject | null; readonly end: number | null },
): string | null {
  const contents = contentsOf(directory);
  const there = firstNameUpTo(contents, anchor.sequence);
  if (there !== null) return stillThereText(anchor, there);
  if (key !== null && anchor.signature !== null) {
    try {
      checkSigned(anchor, key);
    } catch (error) {
      if (error instanceof Unsealed) return error.message;
      throw error;
    }
  }
  const [first] = contents.manifests;
  if (first === undefined)
    return end !== null && anchor.sequence > end
      ? `the chain that is recorded ends with archive ${end}`
      : null;
  const [sequence, name] = first;
  const { manifest } = readManifest(directory, name);
  return sequence === anchor.sequence + 1 && manifest.previous_sha256 === anchor.previous_sha256
    ? null
    : `archive ${sequence}, the first one, does not follow archive ${anchor.sequence}`;
}

/** The content of an anchor without a record. */
export function unrecordedText({ sequence, created }: Anchor): string {
  const say = `it says that the chain begins at ${sequence + 1} and the archives before were removed on ${created.slice(0, 10)}`;
  return `${say}; ${NOT_RECORDED}. If they were removed rightly, postern-auditd archive adopt records that`;
}

/** The first file name of an archive up to a number; null if there is none. */
export function firstNameUpTo({ files, manifests }: ArchiveContents, upTo: number): string | null {
  const names = [...files, ...manifests.values()].filter((name) => (sequenceOf(name) ?? 0) <= upTo);
  return names.sort((a, b) => a.localeCompare(b, 'en'))[0] ?? null;
}

/**
 * The manifests of the existing archives, the oldest first. An anchor hides none, because anyone who may write to the directory can forge
 * one. Only manifests that it replaces and whose files are gone are omitted: leftovers of an interrupted removal.
 */
export function manifestsIn(
  directory: string,
  contents: ArchiveContents = contentsOf(directory),
): Array<readonly [sequence: number, name: string]> {
  const removed = anchorIn(directory, contents).anchor?.sequence ?? 0;
  const there = new Set([...contents.files].map(sequenceOf));
  return [...contents.manifests].filter(([sequence]) => sequence > removed || there.has(sequence));
}

export function stillThereText({ sequence }: Anchor, name: string): string {
  return `it says that archives up to ${sequence} were removed, and ${name} still exists`;
}

function anchorIn(
  directory: string,
  contents: ArchiveContents,
): { anchor: Anchor | null; why: string | null } {
  try {
    return { anchor: readAnchor(directory, contents), why: null };
  } catch (error) {
    if (!(error instanceof AuditdError && error.code === 'ARCHIVE_BROKEN')) throw error;
    return { anchor: null, why: messageOf(error.cause ?? error) };
  }
}
