import type { KeyObject } from 'node:crypto';
import { AuditdError, messageOf } from '../../errors.js';
import {
  anchorRecordOf,
  firstNameUpTo,
  NOT_RECORDED,
  type Removal,
  readAnchorStanding,
  stillThereText,
  unrecordedText,
} from './anchor.js';
import {
  ANCHOR,
  type ArchiveContents,
  contentsOf,
  fileAtFault,
  sequenceOf,
  stemOf,
  TEMPORARY,
} from './archive-files.js';
import { type ChainBegin, chainBeginText } from './chain-begin.js';
import { checkArchive } from './compare-file.js';
import { compressorOf } from './compression.js';
import { DistinctIds } from './distinct-ids.js';
import {
  checkLegalChain,
  checkNamed,
  type LegalLink,
  leftoverOfHold,
  legalHoldsText,
} from './legal-hold-records.js';
import { type Anchor, isSignedBy } from './manifest.js';
import { BEGINNING, type ChainHead, readAnchor, readManifest } from './manifest-chain.js';
import { finishable } from './repair.js';
import { Signatures, Unvouched } from './signatures.js';

export interface VerifyOptions {
  /** Public key with which every manifest must be signed; null: signatures are not checked. */
  readonly key: KeyObject | null;
  /** This host's signing key: each archive must then be vouched for (signatures.ts); omitted or null: not required. */
  readonly sign?: KeyObject | null;
  /** Manifests recorded elsewhere: they reveal archives that were cut off from the end of the chain. */
  readonly known: readonly ChainHead[];
  /** The records of removed archives in state.db; null if it can't be read. */
  readonly removals?: readonly Removal[] | null;
  /** The legal hold records in state.db; null or omitted if it can't be read. */
  readonly legal?: ReadonlyArray<{ readonly number: number; readonly sha256: string }> | null;
  /** Called after each archive with the bytes read. */
  readonly onProgress?: (bytes: number) => void;
}

export interface ChainVerdict {
  readonly archives: number;
  readonly rows: number;
  /** Distinct rows of the table: a row that a backup restored is archived again. */
  readonly distinct: number;
  /** The end of the chain, to be stored elsewhere. */
  readonly head: ChainHead;
  /** The first broken link; null if there is none. */
  readonly broken: { readonly name: string; readonly what: string } | null;
  /** Where the chain begins; null: with the first archive. */
  readonly begin: ChainBegin | null;
  /** Remarks that are not faults of the chain: leftovers of a crash, changes to rows stated in archives. */
  readonly notes: readonly string[];
}

class Broken extends Error {
  constructor(
    readonly file: string,
    what: string,
  ) {
    super(what);
  }
}

/**
 * Checks the whole chain, from the oldest archive, and every row in it.
 *
 * @throws AuditdError `ARCHIVE_FAILED` if the directory can't be read, `CONFIG_INVALID` for zstd without zstd
 */
export function verifyArchives(directory: string, options: VerifyOptions): ChainVerdict {
  const contents = contentsOf(directory);
  const chain = new Chain(directory, contents, options);
  let broken: ChainVerdict['broken'] = null;
  try {
    chain.verify();
  } catch (error) {
    if (error instanceof Broken) broken = { name: error.file, what: error.message };
    else throw error;
  }
  const { archives, rows, head, begin, notes } = chain;
  return { archives, rows, distinct: chain.ids.count, head, broken, begin, notes };
}

class Chain {
  archives = 0;
  rows = 0;
  readonly ids = new DistinctIds();
  private readonly signatures = new Signatures();
  head: ChainHead = BEGINNING;
  /** The newest removed archive by the records. */
  private removed: ChainHead = BEGINNING;
  begin: ChainBegin | null = null;
  readonly notes: string[] = [];
  private legal: readonly LegalLink[] = [];
  private readonly claimed = new Set<string>();

  constructor(
    private readonly directory: string,
    private readonly contents: ArchiveContents,
    private readonly options: VerifyOptions,
  ) {}

  verify(): void {
    const { directory, contents, options } = this;
    const { manifests, files, others, temporary } = contents;
    this.legal = this.orBroken(null, () => checkLegalChain(directory, contents, options));
    this.notes.push(...legalHoldsText(this.legal));
    const removed = this.readBegin();
    if (this.legal.length > 0) this.verifyHeld(removed);
    for (const [sequence, name] of manifests) {
      if (sequence <= removed) continue;
      this.verifyLink(sequence, name);
      this.archives++;
    }
    this.requireSigned(() => this.signatures.end());
    for (const known of this.options.known) {
      if (known.sequence > this.head.sequence)
        throw new Broken(
          archiveLabel(known.sequence),
          'it was recorded, and is missing at the end of the chain',
        );
    }
    this.noteUnrecordedEnd();
    for (const name of temporary) this.noteLeftover(name);
    for (const name of files) {
      const sequence = sequenceOf(name) ?? 0;
      if (sequence <= removed && !this.claimed.has(name))
        this.notes.push(
          `${name} is older than the chain: its removal is recorded, and was interrupted. The next run resumes it, unless retention.archive.keep is forever now`,
        );
      else if (!this.claimed.has(name)) throw new Broken(name, 'no manifest names it');
    }
    const [other] = others;
    if (other !== undefined) throw new Broken(other, 'it is not part of the chain');
  }

  /** Archives that a hold kept after their removal was decided: a chain of their own, up to the beginning of the other one. */
  private verifyHeld(removed: number): void {
    const [files, end] = [new Set([...this.contents.files].map(sequenceOf)), this.head];
    for (const [sequence, name] of this.contents.manifests) {
      if (sequence > removed || !files.has(sequence)) continue;
      const previous = () => readManifest(this.directory, name).manifest.previous_sha256;
      if (this.head === end) this.head = { sequence: sequence - 1, sha256: this.orBroken(name, previous) };
      this.verifyLink(sequence, name);
      this.archives++;
      this.notes.push(
        `archive ${sequence} is kept by a legal hold, though its removal is recorded or was interrupted`,
      );
    }
    if (this.head.sha256 !== end.sha256)
      throw new Broken(ANCHOR, 'the chain does not begin behind what is kept');
  }

  /** An end of the chain with valid links and hashes but without a record: anyone who may write to the directory can add it. */
  private noteUnrecordedEnd(): void {
    const last = Math.max(0, ...this.options.known.map(({ sequence }) => sequence));
    const { sequence } = this.head;
    if (last === 0 || sequence <= last) return;
    const which =
      sequence === last + 1 ? `archive ${sequence} follows` : `archives ${last + 1}-${sequence} follow`;
    this.notes.push(
      `${which} the recorded end: written since by a run that was interrupted before it recorded them, or put there by somebody`,
    );
  }

  /** Leftovers of an interrupted run; checked after the chain. */
  private noteLeftover(name: string): void {
    const hold = leftoverOfHold(name);
    if (hold !== null) return void this.notes.push(hold);
    const { directory, contents, options } = this;
    const { file } =
      finishable(directory, name.slice(0, -TEMPORARY.length), contents.files, this.removed, options.key) ??
      {};
    if (file !== undefined) this.claimed.add(file);
    this.notes.push(
      file === undefined
        ? `${name} was left by an interrupted run; the next run removes it`
        : `${file} is complete, but its run was interrupted before the manifest ${name} had its name; the next run repairs that`,
    );
  }

  /** Number of the newest archive removed because of its age. */
  private readBegin(): number {
    const { directory, contents, options } = this;
    const anchor = this.orBroken(ANCHOR, () => readAnchor(directory, contents, options.key));
    const removals = options.removals ?? null;
    const record =
      removals === null
        ? null
        : anchor === null
          ? this.withoutAnchor(readAnchorStanding(directory, removals, contents).record)
          : anchorRecordOf(anchor, removals);
    if (anchor !== null && record === null) this.requireRemoved(anchor, removals !== null);
    const end = record ?? anchor;
    if (end === null) return 0;
    const sha256 = anchor?.previous_sha256 ?? record?.sha256 ?? null;
    this.removed = { sequence: end.sequence, sha256 };
    this.head = this.removed;
    const decided = record !== null && record.adopted === null;
    this.begin = {
      sequence: end.sequence + 1,
      removed: decided ? record.time : (anchor?.created ?? record?.time ?? ''),
      recorded: removals === null ? null : decided,
      adopted: record !== null && !decided ? record.time : null,
    };
    this.notes.push(chainBeginText(this.begin));
    this.requireRecordedHash(ANCHOR);
    return end.sequence;
  }

  /** A record says where the chain begins and the anchor is missing: the next run rewrites it. Not an issue if nothing was removed yet. */
  private withoutAnchor(record: Removal | null): Removal | null {
    if (record === null || firstNameUpTo(this.contents, record.sequence) !== null) return null;
    this.notes.push(`${ANCHOR} is missing; the next run writes it again from state.db`);
    return record;
  }

  /** @throws Broken if the anchor hides archives, or if state.db is readable and has no record of it */
  private requireRemoved(anchor: Anchor, isKnown: boolean): void {
    const there = firstNameUpTo(this.contents, anchor.sequence);
    if (there !== null) throw new Broken(ANCHOR, `${stillThereText(anchor, there)}; ${NOT_RECORDED}`);
    if (!isKnown) return;
    throw new Broken(ANCHOR, unrecordedText(anchor));
  }

  private verifyLink(sequence: number, name: string): void {
    const expected = this.head.sequence + 1;
    if (sequence !== expected) throw new Broken(archiveLabel(expected), 'its manifest is missing');
    const { manifest, sha256 } = this.orBroken(name, () =>
      readManifest(this.directory, name, this.options.key),
    );
    const { source, timeline, month } = manifest;
    this.orBroken(null, () => checkNamed(this.directory, this.legal, manifest));
    if (manifest.previous_sha256 !== this.head.sha256)
      throw new Broken(name, 'it does not link to the archive before it');
    this.head = { sequence, sha256 };
    this.requireRecordedHash(name);
    const isRecorded = this.options.known.some((one) => one.sequence === sequence && one.sha256 === sha256);
    const { sign = null } = this.options;
    if (sign !== null)
      this.requireSigned(() => this.signatures.add(name, isSignedBy(manifest, sign), isRecorded));
    const { extension } = compressorOf(manifest.compression);
    if (manifest.file !== `${stemOf(sequence, source, timeline, month)}${extension}`)
      throw new Broken(name, 'it names the file of another archive');
    if (!this.contents.files.has(manifest.file)) throw new Broken(manifest.file, 'it is missing');
    this.claimed.add(manifest.file);
    const twin = [...this.contents.files].find(
      (file) => sequenceOf(file) === sequence && file !== manifest.file,
    );
    if (twin !== undefined) throw new Broken(twin, 'no manifest names it');
    const ids = this.ids.of(`${source} ${timeline}`);
    const { differ = 0, missing = 0 } = manifest.since_delivery ?? {};
    if (differ + missing > 0)
      this.notes.push(
        `archive ${sequence} says that ${differ} of its rows differ from what was delivered, and that ${missing} up to there are missing since`,
      );
    this.rows += this.orBroken(manifest.file, () => checkArchive(this.directory, manifest, ids));
    this.options.onProgress?.(manifest.bytes);
  }

  private requireRecordedHash(name: string): void {
    const { sequence, sha256 } = this.head;
    for (const known of this.options.known) {
      if (known.sequence === sequence && known.sha256 !== sha256)
        throw new Broken(name, 'it differs from the one that was recorded when the archive was created');
    }
  }

  /** The error of a signature names the manifest itself. */
  private requireSigned(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Unvouched)) throw error;
      // An unvouched archive is only known at the end of the chain: archives from it on do not count as verified.
      const known = [...this.contents.manifests].filter(([sequence]) => sequence > this.removed.sequence);
      this.archives = known.findIndex(([, name]) => name === error.manifest);
      throw new Broken(error.manifest, error.message);
    }
  }

  /** @param name of the faulty file; null: the error names it */
  private orBroken<T>(name: string | null, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof AuditdError)) throw error;
      if (error.code !== 'ARCHIVE_BROKEN') throw error;
      throw new Broken(name ?? fileAtFault(error), messageOf(error.cause ?? error));
    }
  }
}

function archiveLabel(sequence: number): string {
  return `archive ${String(sequence).padStart(6, '0')}`;
}
