import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { AuditdError, messageOf } from '../errors.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { State } from '../shipping/state.js';
import { archiveFailed, contentsOf, holdName, makeDirectory, placeFile } from './archive/archive-files.js';
import {
  type HoldFilter,
  type HoldRecord,
  type KnownRecord,
  type LegalLink,
  MOST_RECORDS,
  sealRecord,
} from './archive/legal-hold-records.js';
import { holdFilterSchema } from './archive/schema.js';
import { signingKey } from './archive/signing-key.js';
import { byCommand } from './deletion-intent.js';
import { explainedProblem, type Problem, toErrorParts } from './error-parts.js';
import { LegalHolds, readLegalHolds } from './legal-holds.js';

export interface LegalHoldStoreOptions {
  readonly state: Pick<State, 'note' | 'setNote' | 'durably'>;
  readonly directory: string;
  /** The key that signs archives; null: archives are not signed. */
  readonly sign: () => KeyObject | null;
  readonly clock: () => number;
  /** Writes an event in the open transaction; throws if that fails. */
  readonly write: (entry: NewEntry) => void;
  /** Called once the transaction is committed. */
  readonly onRecorded?: (() => void) | undefined;
}

/** A hold as shown to people. */
export interface ShownHold {
  readonly id: number;
  readonly filter: HoldFilter;
  readonly reason: string;
  readonly by: string | null;
  readonly created: string;
  readonly file: string;
  /** SHA-256 of the file. */
  readonly sha256: string;
  readonly signed: boolean;
}

export interface LegalStatus {
  readonly in_force: readonly ShownHold[];
  /** Why nothing is deleted, or which records do not count; null: no problem. */
  readonly trouble: string | null;
  /** The parts of `trouble`; a daemon of an earlier version sends the text alone. */
  readonly problem?: Problem | null;
}

/** Key in `meta` of state.db, for readers that run without the daemon. */
export const LEGAL_RECORDS = 'retention_legal_records';
/** The same for releases that do not count. Later records may count, and are invalid without them. */
const UNCOUNTED = 'retention_legal_uncounted';

const recordedSchema = z.array(
  z.object({ number: z.int().positive(), sha256: z.string(), text: z.string(), kind: z.string() }),
);

/** With the text of the file, from which the file can be restored. */
type Recorded = z.infer<typeof recordedSchema>[number];

/** @param text of that note @throws AuditdError `STATE_UNUSABLE`: without the note, missing holds can't be detected */
export function legalRecordsIn(text: string | null): readonly Recorded[] {
  try {
    return recordedSchema.parse(JSON.parse(text ?? '[]'));
  } catch (error) {
    throw new AuditdError(
      'STATE_UNUSABLE',
      "What state.db has of legal holds can't be read, so nothing is deleted",
      { next: 'Put state.db back from a backup', cause: error },
    );
  }
}

const text = z.string().trim().min(1).max(1_000);
const holdRequest = z.strictObject({ filter: holdFilterSchema, all: z.boolean().optional(), reason: text });
const releaseRequest = z.strictObject({ reason: text });

/** Maximum age of what `status` shows: monitoring asks often, and the directory may have many entries. */
const SHOWN_MS = 5_000;

/** @param archive of the configuration */
export function legalHoldStoreOf(
  options: Omit<LegalHoldStoreOptions, 'directory' | 'sign'>,
  { directory, sign }: { readonly directory: string; readonly sign: string | null },
): LegalHoldStore {
  return new LegalHoldStore({ ...options, directory, sign: () => (sign === null ? null : signingKey(sign)) });
}

/** Creates and releases legal holds, in the process that holds the lock of state.db. */
export class LegalHoldStore {
  private shown: { readonly at: number; readonly status: LegalStatus } | null = null;

  constructor(private readonly options: LegalHoldStoreOptions) {}

  /** The records that the purge and a run must find. @throws AuditdError `STATE_UNUSABLE` */
  recorded(): KnownRecord[] {
    return this.records().map(({ number, sha256 }) => ({ number, sha256 }));
  }

  /** @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`, `STATE_UNUSABLE` */
  current(): LegalHolds {
    return readLegalHolds(this.options.directory, this.recorded());
  }

  /** Whether this is still the newest record. @param head SHA-256 of its file @throws as `current` */
  isNewest(head: string | null): boolean {
    return this.current().head === head;
  }

  /** Adds records to state.db that are only in the directory, after a crash or the loss of state.db. Releases are not added: they must be repeated. */
  adopt(): void {
    const known = new Set(this.recorded().map(({ sha256 }) => sha256));
    const fresh = this.current().links.filter(({ sha256 }) => !known.has(sha256));
    for (const link of fresh) if (link.record.kind === 'legal_hold') this.saveRecord(link, { adopted: true });
    const { state } = this.options;
    const uncounted = JSON.stringify(fresh.filter(({ record }) => record.kind !== 'legal_hold').map(entryOf));
    if (uncounted !== (state.note(UNCOUNTED) ?? '[]')) state.setNote(UNCOUNTED, uncounted);
  }

  /** The same as `recorded`, for a run: adopts first. If that fails, the run reports it. */
  adoptAndList(): KnownRecord[] {
    try {
      this.adopt();
    } catch (error) {
      if (!(error instanceof AuditdError)) throw error;
    }
    return this.recorded();
  }

  /** @param body of the command's request @throws AuditdError `USAGE`, and as `current` */
  hold(body: unknown, by: string | null): ShownHold {
    const { filter, all, reason } = parse(holdRequest, body);
    const isAll = Object.keys(filter).length === 0;
    if (isAll !== (all === true))
      throw isAll
        ? usage('A hold without a filter covers all rows', 'Confirm that with --all, or give a filter')
        : usage('--all and a filter exclude each other', 'Leave out one of them');
    this.adopt();
    return shownOf(this.append({ kind: 'legal_hold', filter, reason, by }));
  }

  /** Releases a hold. @throws AuditdError `NOT_FOUND`, `CONFLICT` if it is already released, and as `hold` */
  release(number: number, body: unknown, by: string | null): ShownHold {
    const { reason } = parse(releaseRequest, body);
    this.adopt();
    const { links, inForce } = this.current();
    const link = links[number - 1];
    const next = 'List those in force: postern-auditd retain holds';
    if (link?.record.kind !== 'legal_hold')
      throw new AuditdError('NOT_FOUND', `There is no legal hold ${number}`, { next });
    if (!inForce.some((one) => one.number === number))
      throw new AuditdError('CONFLICT', `Legal hold ${number} is released already`, { next });
    this.append({ kind: 'legal_release', releases: number, reason, by });
    return shownOf(link);
  }

  /** Restores the records that are missing in the directory. @returns their names @throws as `hold` */
  putBack(): string[] {
    const { directory } = this.options;
    makeDirectory(directory);
    const there = contentsOf(directory).holds;
    const recorded = this.records();
    const uncounted = legalRecordsIn(this.options.state.note(UNCOUNTED)).filter(
      ({ number }) => !recorded.some((one) => one.number === number),
    );
    const missing = [...recorded, ...uncounted]
      .filter(({ number }) => !there.has(number))
      .sort((a, b) => a.number - b.number);
    for (const { number, text: whole } of missing) placeFile(directory, holdName(number), whole);
    this.shown = null;
    this.current();
    return missing.map(({ number }) => holdName(number));
  }

  /** The holds currently in force. */
  list(): LegalStatus {
    this.shown = null;
    return this.status();
  }

  /** The same, possibly some seconds old. */
  status(): LegalStatus {
    const now = performance.now();
    if (this.shown === null || now - this.shown.at > SHOWN_MS)
      this.shown = { at: now, status: this.readStatus() };
    return this.shown.status;
  }

  private readStatus(): LegalStatus {
    try {
      const { links, inForce, unrecorded } = this.current();
      const of = new Set<number>(inForce.map(({ number }) => number));
      const lost = unrecorded.map(({ name, record }) =>
        record.kind === 'legal_release' && of.has(record.releases) ? { name, hold: record.releases } : null,
      );
      const problem = uncountedReleases(lost.filter((one) => one !== null));
      return {
        in_force: links.filter(({ record }) => of.has(record.number)).map(shownOf),
        trouble: explainedProblem(problem),
        problem,
      };
    } catch (error) {
      const { what, next } = toErrorParts(error);
      return { in_force: this.heldByState(), trouble: messageOf(error), problem: { what, next } };
    }
  }

  /** The holds as in state.db, for a directory that can't be trusted. */
  private heldByState(): ShownHold[] {
    try {
      const links = this.records().map(({ number, sha256, text: whole }): LegalLink => {
        const record = JSON.parse(whole) as LegalLink['record'];
        return { name: holdName(number), sha256, record, text: whole };
      });
      const { inForce } = new LegalHolds(
        links,
        links.map(({ sha256, record }) => ({ sha256, number: record.number })),
      );
      return links
        .filter(({ record }) => inForce.some(({ number }) => number === record.number))
        .map(shownOf);
    } catch {
      return [];
    }
  }

  private append(
    body:
      | Pick<HoldRecord, 'kind' | 'filter' | 'reason' | 'by'>
      | {
          readonly kind: 'legal_release';
          readonly releases: number;
          readonly reason: string;
          readonly by: string | null;
        },
  ): LegalLink {
    const { directory, clock, sign } = this.options;
    const { links, head } = this.current();
    const number = links.length + 1;
    if (number > MOST_RECORDS)
      throw new AuditdError(
        'CONFLICT',
        `There are ${MOST_RECORDS} records of legal holds: no more can be made`,
      );
    const created = new Date(clock()).toISOString();
    const { text: whole } = sealRecord({ ...body, number, created, previous_sha256: head }, sign());
    const name = holdName(number);
    makeDirectory(directory);
    try {
      placeFile(directory, name, whole);
    } catch (error) {
      throw archiveFailed(
        `${directory} can't be changed, so ${body.kind === 'legal_hold' ? 'nothing is held' : 'nothing is released'}`,
        error,
      );
    }
    const link = this.current().links[number - 1];
    if (link === undefined) throw new Error(`${name} is not there`);
    this.saveRecord(link, {});
    return link;
  }

  /** Writes record and event in one transaction, which is durable when this returns. */
  private saveRecord(link: LegalLink, more: Readonly<Record<string, unknown>>): void {
    const { name, record, sha256 } = link;
    const { state, directory, write, onRecorded } = this.options;
    const { number, reason, by } = record;
    const facts = { reason, by: byCommand(by), file: name, sha256, directory, ...more };
    state.durably(() => {
      const all = [...this.records(), entryOf(link)].sort((a, b) => a.number - b.number);
      state.setNote(LEGAL_RECORDS, JSON.stringify(all));
      write(
        record.kind === 'legal_hold'
          ? {
              action: 'daemon.legal_hold_create',
              resourceId: number,
              details: { hold: number, filter: record.filter, ...facts },
            }
          : {
              action: 'daemon.legal_hold_release',
              resourceId: record.releases,
              details: { hold: record.releases, ...facts },
            },
      );
    });
    this.shown = null;
    onRecorded?.();
  }

  private records(): readonly Recorded[] {
    return legalRecordsIn(this.options.state.note(LEGAL_RECORDS));
  }
}

function uncountedReleases(
  lost: ReadonlyArray<{ readonly name: string; readonly hold: number }>,
): Problem | null {
  if (lost.length === 0) return null;
  const what = lost.map(
    ({ name, hold }) => `${name} is a release that state.db does not know, so hold ${hold} is in force`,
  );
  const again = lost.map(({ hold }) => `postern-auditd retain release ${hold}`);
  return { what: what.join('; '), next: `Release it again: ${again.join(', ')}` };
}

function entryOf({ record: { number, kind }, sha256, text: whole }: LegalLink): Recorded {
  return { number, sha256, text: whole, kind };
}

function shownOf({ name, record, sha256 }: LegalLink): ShownHold {
  const { number, reason, by, created, signature } = record;
  const filter = record.kind === 'legal_hold' ? record.filter : {};
  return { id: number, filter, reason, by, created, file: name, sha256, signed: signature !== null };
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw usage(`${issue?.path.join('.') || 'the request'}: ${issue?.message ?? 'is not understood'}`);
}

function usage(what: string, next: string | null = null): AuditdError {
  return new AuditdError('USAGE', what, { next });
}
