import type { KeyObject } from 'node:crypto';
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { AuditdError } from '../../errors.js';
import { NOTHING_RECORDED, type RecordedArchives } from '../recorded-archives.js';
import { anchorRecordOf, manifestsIn, readAnchorStanding, unrecordedText } from './anchor.js';
import { ANCHOR, type ArchiveContents, archiveBroken, contentsOf } from './archive-files.js';
import { isSignedBy, type Manifest, type Signed } from './manifest.js';
import { BEGINNING, type ChainHead, readAnchor, readManifest } from './manifest-chain.js';
import { Signatures, Unvouched } from './signatures.js';

/** Archives that should exist, by number, both inclusive. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** The archives of a directory, for readers of rows. */
export interface ArchiveChain {
  /** The existing archives, the oldest first, each linked to the previous one. */
  readonly archives: readonly Manifest[];
  /** Archives that were written, were not removed because of their age, and are missing. */
  readonly missing: readonly Range[];
  /** Where other archived rows are; null: nowhere. */
  readonly elsewhere: string | null;
  /** The content of an anchor that does not count because no record confirms it; null: there is none. */
  readonly unrecorded: string | null;
}

interface Link {
  readonly manifest: Manifest;
  readonly sha256: string;
  /** Null if archives are not signed. */
  readonly signed: Signed | null;
}

/** Attempts to get a consistent view while a run adds and removes archives. */
const TRIES = 5;

/**
 * Reads and checks a chain of archives: each manifest's link to the previous one, its hash against the record of it, and its signature if
 * archives are signed. A manifest never changes, so each is read once.
 */
export class ChainReader {
  private known = new Map<string, Link>();
  private signer: KeyObject | null | undefined;

  /** @param key that archives are signed with; null: signatures are not checked */
  constructor(
    readonly directory: string,
    private readonly key: () => KeyObject | null = () => null,
  ) {}

  /** @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED` */
  read(recorded: RecordedArchives = NOTHING_RECORDED): ArchiveChain {
    for (let tries = 1; ; tries++) {
      const contents = contentsOf(this.directory);
      const changed = () => tries < TRIES && !isSame(contents, contentsOf(this.directory));
      try {
        const chain = this.look(contents, recorded);
        if (
          (chain.missing.length === 0 && chain.elsewhere === null && chain.unrecorded === null) ||
          !changed()
        )
          return chain;
      } catch (error) {
        if (changed()) continue;
        throw error instanceof Unvouched
          ? archiveBroken(this.directory, error.manifest, error.message)
          : error;
      }
    }
  }

  private look(contents: ArchiveContents, recorded: RecordedArchives): ArchiveChain {
    const { directory } = this;
    const there = manifestsIn(directory, contents);
    const { unrecorded, ...first } = beginOf(directory, contents, { there, removals: recorded.removals });
    let head: ChainHead = first;
    const begin = head.sequence;
    const signatures = new Signatures();
    const seen = new Map<string, Link>();
    const archives: Manifest[] = [];
    const missing: Range[] = [];
    let isEnd = recorded.purged !== null && begin >= recorded.purged.sequence;
    for (const [sequence, name] of there) {
      const { manifest, sha256, signed } = this.link(name, seen);
      if (sequence !== head.sequence + 1) {
        missing.push({ from: head.sequence + 1, to: sequence - 1 });
        signatures.end();
      } else if (manifest.previous_sha256 !== head.sha256)
        throw archiveBroken(directory, name, 'it does not link to the archive before it');
      head = { sequence, sha256 };
      const known = isRecorded(directory, name, head, recorded);
      if (signed !== null) signatures.add(name, signed, known);
      if (recorded.purged?.sequence === sequence) {
        isEnd = recorded.purged.sha256 === manifest.sha256;
        if (!isEnd && this.isHere(recorded))
          throw archiveBroken(directory, name, 'it is not the one whose rows were removed');
      }
      if (contents.files.has(manifest.file)) archives.push(manifest);
      else missing.push({ from: sequence, to: sequence });
    }
    signatures.end();
    this.known = seen;
    return { archives, unrecorded, ...this.after(head, recorded, missing, isEnd) };
  }

  /** What is missing after the last existing archive. @param isEnd whether the noted archive exists or was removed because of its age */
  private after(
    { sequence }: ChainHead,
    recorded: RecordedArchives,
    missing: Range[],
    isEnd: boolean,
  ): Pick<ArchiveChain, 'missing' | 'elsewhere'> {
    const { purged, made } = recorded;
    // The directory was moved, or another chain was started here.
    if (!this.isHere(recorded)) return { missing, elsewhere: isEnd ? null : (purged?.directory ?? null) };
    const last = Math.max(purged?.sequence ?? 0, made.at(-1)?.sequence ?? 0);
    if (last > sequence) missing.push({ from: sequence + 1, to: last });
    return { missing, elsewhere: null };
  }

  /** Whether the last note is about this directory. */
  private isHere({ purged }: RecordedArchives): boolean {
    return purged?.directory === undefined || purged.directory === this.directory;
  }

  private link(name: string, seen: Map<string, Link>): Link {
    const stats = lstatSync(join(this.directory, name), { bigint: true, throwIfNoEntry: false });
    const key = `${name} ${stats?.ino} ${stats?.mtimeNs} ${stats?.ctimeNs}`;
    const link = this.known.get(key) ?? this.readLink(name);
    seen.set(key, link);
    return link;
  }

  private readLink(name: string): Link {
    if (this.signer === undefined) this.signer = this.key();
    const { signer } = this;
    const { manifest, sha256 } = readManifest(this.directory, name);
    return { manifest, sha256, signed: signer === null ? null : isSignedBy(manifest, signer) };
  }
}

/**
 * Where the chain begins. An anchor is not trusted if it declares an existing archive removed, or if no record confirms it.
 */
function beginOf(
  directory: string,
  contents: ArchiveContents,
  {
    there,
    removals,
  }: {
    readonly there: ReadonlyArray<readonly [sequence: number, name: string]>;
    readonly removals: RecordedArchives['removals'];
  },
): ChainHead & { readonly unrecorded: string | null } {
  const isGone = (upTo: number) => there.every(([sequence]) => sequence > upTo);
  const anchor = readAnchor(directory, contents);
  const isKnown = anchor !== null && (removals === null || anchorRecordOf(anchor, removals) !== null);
  if (anchor !== null && isKnown && isGone(anchor.sequence))
    return { sequence: anchor.sequence, sha256: anchor.previous_sha256, unrecorded: null };
  const { begin } = readAnchorStanding(directory, removals ?? [], contents);
  const unrecorded = anchor === null || isKnown ? null : unrecordedText(anchor);
  if (isGone(begin.sequence)) return { ...begin, unrecorded };
  // The last decision was not carried out, because of a legal hold or a crash. The one before it was.
  const done = removals?.findLast((one) => one.directory === directory && isGone(one.sequence));
  return { sequence: done?.sequence ?? BEGINNING.sequence, sha256: done?.sha256 ?? null, unrecorded };
}

/** What is missing, for people; null if nothing is. */
export function missingText(
  directory: string,
  { missing, elsewhere, unrecorded }: Omit<ArchiveChain, 'archives'>,
): string | null {
  const parts: string[] = [];
  if (missing.length > 0) {
    const numbers = missing.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`));
    const one = missing.length === 1 && missing[0]?.from === missing[0]?.to;
    parts.push(
      `${one ? 'archive' : 'archives'} ${numbers.join(', ')} ${one ? 'is' : 'are'} missing in ${directory}`,
    );
  }
  if (parts.length > 0 && unrecorded !== null) parts.push(`${ANCHOR} does not count: ${unrecorded}`);
  if (elsewhere !== null)
    parts.push(
      `the archives of rows that were removed from the table are in ${elsewhere}, and not in ${directory}`,
    );
  return parts.length === 0 ? null : parts.join('; ');
}

/** The error of an incomplete chain. @param goOn how to use it all the same */
export function incomplete(words: string, goOn: string): AuditdError {
  return new AuditdError('ARCHIVE_FAILED', `The result would be incomplete: ${words}`, {
    next: `Mount the disk, or put the archives back from a backup; else ${goOn}`,
  });
}

/** Whether the record of an archive exists. @throws AuditdError `ARCHIVE_BROKEN` if only different records have its number */
function isRecorded(directory: string, name: string, head: ChainHead, { made }: RecordedArchives): boolean {
  const records = made.filter(({ sequence }) => sequence === head.sequence);
  if (records.some(({ sha256 }) => sha256 === head.sha256)) return true;
  // There may be several chains, each in its own directory.
  if (records.length === 0) return false;
  throw archiveBroken(
    directory,
    name,
    'it differs from the one that was recorded when the archive was created',
  );
}

function isSame(a: ArchiveContents, b: ArchiveContents): boolean {
  const text = ({ manifests, files, anchor }: ArchiveContents) =>
    [...manifests.values(), ...files, String(anchor)].join('\n');
  return text(a) === text(b);
}
