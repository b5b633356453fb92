import type { KeyObject } from 'node:crypto';
import { AuditdError, messageOf } from '../../errors.js';
import { type ArchiveContents, contentsOf, sequenceOf } from './archive-files.js';
import { type Anchor, checkSigned, Unsealed } from './manifest.js';
import { type ChainHead, readAnchor, readManifest } from './manifest-chain.js';

/**
 * What state.db has of archives that were removed: with it an anchor is compared. Whoever may write to the directory may write an
 * anchor, but not state.db.
 */
export interface Removal {
  readonly directory: string;
  /** Of the newest archive that was removed; 0 where none was. */
  readonly sequence: number;
  /** SHA-256 of the file of its manifest; null where none was. */
  readonly sha256: string | null;
  /** When that was decided, or its anchor was adopted; ISO 8601. */
  readonly time: string;
  /** Null where the daemon has decided it; else how an anchor came to count without a record of a decision. */
  readonly adopted: 'upgrade' | 'command' | null;
}

/** Where the chain begins, as far as that is recorded, and what the anchor in the directory is worth. */
export interface AnchorStanding {
  /** The newest archive that is gone by a record. */
  readonly begin: ChainHead;
  readonly record: Removal | null;
  /** As it stands in the directory, if it can be read. */
  readonly anchor: Anchor | null;
  /** Does a record say the same as the anchor? */
  readonly matches: boolean;
  /** Why the anchor does not count; null if it does, or there is none. */
  readonly refused: string | null;
}

export const NOT_RECORDED = 'a decision to remove archives up to there is not recorded in state.db';

/** @param records all that state.db has, the oldest first @throws AuditdError `ARCHIVE_FAILED` */
export function readAnchorStanding(
  directory: string,
  records: readonly Removal[],
  contents: ArchiveContents = contentsOf(directory),
): AnchorStanding {
  const { anchor, why } = anchorIn(directory, contents);
  const match = anchor === null ? null : anchorRecordOf(anchor, records);
  // In a directory without anything (a disk that is not mounted) no chain goes on.
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

/** The newest record that says what the anchor says. */
export function anchorRecordOf(anchor: Anchor, records: readonly Removal[]): Removal | null {
  const says = (one: Removal) => one.sequence === anchor.sequence && one.sha256 === anchor.previous_sha256;
  return records.findLast(says) ?? null;
}

/**
 * Why an anchor without a record can't be adopted; null if it can. It can where nothing is gone by it that is not gone already: no
 * archive is there that it stands for, and the first one that is there was put behind it.
 *
 * @param key that archives are signed with. An anchor from before that has no signature, one that has needs the right one.
 * @param end of the chain as it is recorded for this directory; null if nothing is
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

/** What an anchor says that nobody has recorded. */
export function unrecordedText({ sequence, created }: Anchor): string {
  const say = `it says that the chain begins at ${sequence + 1} and the archives before were removed on ${created.slice(0, 10)}`;
  return `${say}; ${NOT_RECORDED}. If they were removed rightly, postern-auditd archive adopt records that`;
}

/** The first name that belongs to an archive up to a number; null if there is none. */
export function firstNameUpTo({ files, manifests }: ArchiveContents, upTo: number): string | null {
  const names = [...files, ...manifests.values()].filter((name) => (sequenceOf(name) ?? 0) <= upTo);
  return names.sort((a, b) => a.localeCompare(b, 'en'))[0] ?? null;
}

/**
 * The manifests of the archives that are there, the oldest first. An anchor hides none, since anyone who may write there can write one:
 * left out are only those it stands for whose file is gone, the rest of a removal that was broken off.
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
