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

/** Archives that should be there, by number, both included. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** The archives of a directory as those who read rows take them. */
export interface ArchiveChain {
  /** Those that are there, the oldest first, each linked to the one before it. */
  readonly archives: readonly Manifest[];
  /** Those that were made, were not removed because of their age, and are not there. */
  readonly missing: readonly Range[];
  /** Where rows went that are in none of these; null: nowhere. */
  readonly elsewhere: string | null;
  /** What an anchor says that does not count, since nobody has recorded it; null: there is none. */
  readonly unrecorded: string | null;
}

interface Link {
  readonly manifest: Manifest;
  readonly sha256: string;
  /** Null where archives are not signed. */
  readonly signed: Signed | null;
}

/** A run adds and removes archives while somebody reads: so many attempts at a consistent look. */
const TRIES = 5;

/**
 * Reads a chain of archives, and compares it with itself and with what was recorded: each manifest with the one before it, its hash with
 * the record of it, its signature where archives are signed. A manifest never changes, so each is read once.
 */
export class ChainReader {
  private known = new Map<string, Link>();
  private signer: KeyObject | null | undefined;

  /** @param key that archives are signed with; null: signatures are not looked at */
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

  /** What is missing behind the last archive that is there. @param isEnd whether the archive that was noted is there, or was removed because of its age */
  private after(
    { sequence }: ChainHead,
    recorded: RecordedArchives,
    missing: Range[],
    isEnd: boolean,
  ): Pick<ArchiveChain, 'missing' | 'elsewhere'> {
    const { purged, made } = recorded;
    // Moved, or another chain that was begun here.
    if (!this.isHere(recorded)) return { missing, elsewhere: isEnd ? null : (purged?.directory ?? null) };
    const last = Math.max(purged?.sequence ?? 0, made.at(-1)?.sequence ?? 0);
    if (last > sequence) missing.push({ from: sequence + 1, to: last });
    return { missing, elsewhere: null };
  }

  /** Whether what was noted last is of this directory. */
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
 * Where the chain begins. An anchor that says of an archive that is there that it was removed is not believed, nor one of which nobody has
 * recorded what it says.
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
  // What was decided last has not been done: a legal hold came, or a death. The one before was.
  const done = removals?.findLast((one) => one.directory === directory && isGone(one.sequence));
  return { sequence: done?.sequence ?? BEGINNING.sequence, sha256: done?.sha256 ?? null, unrecorded };
}

/** Null if nothing is missing; else what is, for people. */
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

/** A part that is not to be taken for the whole. @param goOn what lets it be taken for what it is */
export function incomplete(words: string, goOn: string): AuditdError {
  return new AuditdError('ARCHIVE_FAILED', `The result would be incomplete: ${words}`, {
    next: `Mount the disk, or put the archives back from a backup; else ${goOn}`,
  });
}

/** Whether the record of an archive is there. @throws AuditdError `ARCHIVE_BROKEN` if there are others of its number alone */
function isRecorded(directory: string, name: string, head: ChainHead, { made }: RecordedArchives): boolean {
  const records = made.filter(({ sequence }) => sequence === head.sequence);
  if (records.some(({ sha256 }) => sha256 === head.sha256)) return true;
  // More than one chain may have been begun, in directories of their own.
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
