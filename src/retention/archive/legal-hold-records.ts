import type { KeyObject } from 'node:crypto';
import {
  type ArchiveContents,
  archiveBroken,
  contentsOf,
  holdName,
  holdNumberOf,
  TEMPORARY,
} from './archive-files.js';
import { readBytes, type Unreadable } from './files.js';
import {
  HOLDS_VERSION,
  hashOf,
  isSignedBy,
  type Manifest,
  type Sealed,
  type Signature,
  seal,
  Unsealed,
  unseal,
} from './manifest.js';
import { holdRecordSchema } from './schema.js';

/** The rows that a legal hold covers. A missing part matches every row; without any part, the hold covers all rows. */
export interface HoldFilter {
  /** The user's exact id, name or e-mail address. */
  readonly user?: string | undefined;
  /** ISO 8601, inclusive. */
  readonly from?: string | undefined;
  /** ISO 8601, exclusive. */
  readonly to?: string | undefined;
  /** The row's `resource_type`, or the catalog's name for it. */
  readonly resource_type?: string | undefined;
  /** Only with a type. */
  readonly resource_id?: string | undefined;
}

interface RecordBase {
  readonly schema_version: number;
  /** Number of the record, from 1. It identifies a hold. */
  readonly number: number;
  readonly reason: string;
  /** The given name, a claim: anyone who may open the control socket can give any name. */
  readonly by: string | null;
  readonly created: string;
  /** SHA-256 of the previous record's file; null in the first one. */
  readonly previous_sha256: string | null;
  readonly signature: Signature | null;
  readonly sha256: string;
}

export interface HoldRecord extends RecordBase {
  readonly kind: 'legal_hold';
  readonly filter: HoldFilter;
}

interface ReleaseRecord extends RecordBase {
  readonly kind: 'legal_release';
  /** Number of the hold. */
  readonly releases: number;
}

export type LegalRecord = HoldRecord | ReleaseRecord;

/** A record in the directory. */
export interface LegalLink {
  readonly name: string;
  readonly record: LegalRecord;
  /** SHA-256 of the file, by which state.db, the next record and archive manifests refer to it. */
  readonly sha256: string;
  /** The whole text of the file. */
  readonly text: string;
}

/** A record in state.db. */
export interface KnownRecord {
  readonly number: number;
  /** SHA-256 of its file. */
  readonly sha256: string;
}

/** Our records are smaller: two texts of 1,000 characters and some keys. */
const LARGEST = 64 * 1024;
/** Maximum number of records: each request to the purge names all of them. */
export const MOST_RECORDS = 2_000;

type Body = Pick<RecordBase, 'number' | 'reason' | 'by' | 'created' | 'previous_sha256'> &
  (Pick<HoldRecord, 'kind' | 'filter'> | Pick<ReleaseRecord, 'kind' | 'releases'>);

/** The text of a record, signed if archives are. */
export function sealRecord(body: Body, key: KeyObject | null): { record: LegalRecord; text: string } {
  const whole = { schema_version: HOLDS_VERSION, ...body };
  const { value, text } = seal<Sealed>(whole, key);
  return { record: value as LegalRecord, text };
}

/**
 * The legal hold records of a directory, the oldest first. Each is checked to be unchanged and linked to the previous one.
 *
 * @param key if given, each must be signed by it
 * @throws AuditdError `ARCHIVE_BROKEN` that names the file, `ARCHIVE_FAILED`
 */
export function readLegalChain(
  directory: string,
  {
    contents = contentsOf(directory),
    key = null,
    unreadable,
  }: {
    readonly contents?: ArchiveContents;
    readonly key?: KeyObject | null;
    readonly unreadable?: Unreadable;
  } = {},
): LegalLink[] {
  const links: LegalLink[] = [];
  for (const number of [...contents.holds.keys()].sort((a, b) => a - b)) {
    const previous = links.at(-1) ?? null;
    if (number !== links.length + 1)
      throw brokenHold(directory, holdName(links.length + 1), 'it is missing, and later records exist');
    const link = readRecord(directory, number, key, unreadable);
    if (link.record.previous_sha256 !== (previous?.sha256 ?? null))
      throw brokenHold(directory, link.name, 'it does not link to the record before it');
    if (link.record.kind === 'legal_release' && link.record.releases >= number)
      throw brokenHold(directory, link.name, 'it does not release an earlier hold');
    links.push(link);
  }
  return links;
}

/**
 * The same for `archive verify`: also compared with state.db, and with signatures if archives are signed.
 *
 * @param options `key`: each must be signed with it; `sign`: this host's key; `legal`: the records in state.db, null if unreadable
 * @throws as `readLegalChain`
 */
export function checkLegalChain(
  directory: string,
  contents: ArchiveContents,
  {
    key,
    sign = null,
    legal = null,
  }: {
    readonly key: KeyObject | null;
    readonly sign?: KeyObject | null;
    readonly legal?: readonly KnownRecord[] | null;
  },
): LegalLink[] {
  const links = readLegalChain(directory, { contents, key });
  checkRecorded(directory, links, legal ?? []);
  if (sign === null) return links;
  for (const { name, record, sha256 } of links) {
    const isRecorded = legal?.some((one) => one.sha256 === sha256) === true;
    const signed = isSignedBy(record, sign);
    const what =
      signed === 'wrong'
        ? 'its signature is wrong'
        : 'it is not signed with the key that retention.archive.sign names, and was never recorded';
    if (signed === 'wrong' || (signed === 'no' && !isRecorded)) throw brokenHold(directory, name, what);
  }
  return links;
}

/** Checks that each record of state.db exists unchanged. @throws AuditdError `ARCHIVE_BROKEN` */
export function checkRecorded(
  directory: string,
  links: readonly LegalLink[],
  recorded: readonly KnownRecord[],
): void {
  for (const { number, sha256 } of recorded) {
    const link = links[number - 1];
    const what =
      link === undefined
        ? 'it is recorded in state.db, and missing'
        : 'it is not the one that is recorded in state.db';
    if (link?.sha256 !== sha256) throw brokenHold(directory, holdName(number), what);
  }
}

/** Checks that the record exists that an archive names as the newest of its time. @throws AuditdError `ARCHIVE_BROKEN` */
export function checkNamed(
  directory: string,
  links: readonly LegalLink[],
  { holds_sha256: named, file }: Pick<Manifest, 'file' | 'holds_sha256'>,
): void {
  if (named === undefined || links.some(({ sha256 }) => sha256 === named)) return;
  const what = `${file} was created with a record of legal holds that is missing`;
  throw brokenHold(directory, holdName(links.length + 1), what);
}

/** The number of records, described for people. */
export function legalHoldsText(links: readonly LegalLink[]): string[] {
  if (links.length === 0) return [];
  const made = links.filter(({ record }) => record.kind === 'legal_hold').length;
  const next = 'postern-auditd retain holds shows those in force';
  return [`legal holds: ${made} made, ${links.length - made} released; ${next}`];
}

/** The leftover of a crash while a record was written, described for people; null for any other name. */
export function leftoverOfHold(name: string): string | null {
  if (!name.endsWith(TEMPORARY) || holdNumberOf(name.slice(0, -TEMPORARY.length)) === null) return null;
  return `${name} was left when a legal hold was being written: it does not count, and the next one replaces it`;
}

function readRecord(
  directory: string,
  number: number,
  key: KeyObject | null,
  unreadable?: Unreadable,
): LegalLink {
  const name = holdName(number);
  const bytes = readBytes(directory, name, unreadable, LARGEST);
  try {
    const record = unseal<LegalRecord>(
      bytes,
      key,
      holdRecordSchema,
      'it is not a valid record of a legal hold',
      [HOLDS_VERSION],
    );
    if (record.number !== number) throw new Unsealed('it is the record of another number');
    return { name, record, sha256: hashOf(bytes), text: bytes.toString() };
  } catch (error) {
    if (error instanceof Unsealed) throw brokenHold(directory, name, error.message);
    throw error;
  }
}

/** The error for a record that is missing or was changed. */
function brokenHold(directory: string, name: string, what: string): ReturnType<typeof archiveBroken> {
  return archiveBroken(
    directory,
    name,
    what,
    'Put the file back from a backup; nothing is removed before. If it is only missing, run postern-auditd retain holds --put-back, which writes it again from state.db; move a file that was changed, or that the daemon has not written, away first',
  );
}
