// Legal holds keep rows and archives, regardless of ages, caps and full disks, until somebody releases them.
//
// States: none; in force (a record "legal_hold" in the directory of archives); released (a later record "legal_release" that is in state.db).
// 1. A hold counts as soon as its file has its final name, even if state.db does not have it yet. A release counts only once state.db has it.
//    So a crash in between holds too much, never too little.
// 2. Records are never changed or removed, and each contains the hash of the previous one. An edited, missing, unreadable or unknown record stops
//    every deletion, with an error that names the file. state.db has each record, which reveals a missing last one. Archive manifests name the newest.
// 3. The purge reads the records itself for each request, and checks for a new one right before each commit. The daemon passes which records
//    must exist and which releases count: that can only hold more.
// 4. A held row is not archived, since it would not be deleted. An archive with a held row stays, and so do the later ones, because they form a chain.
// 5. If a value is unknown (an unreadable time, a column that the archive lacks), the row counts as held.
// 6. A version without legal holds rejects the directory (archive-files.ts).
// Not held: rotated log files, and rows that Postern or somebody else deletes from the table.

import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { createResourceMatcher } from '../audit/resource-matcher.js';
import type { SqlValue } from '../source/event-id.js';
import { textOf } from '../source/row-to-event.js';
import { archiveFailed, contentsOf, holdName } from './archive/archive-files.js';
import type { Unreadable } from './archive/files.js';
import {
  checkRecorded,
  type HoldRecord,
  type KnownRecord,
  type LegalLink,
  readLegalChain,
} from './archive/legal-hold-records.js';

/** The parts of a row that a hold matches. Each list has the possible values: one, unless the column is unknown. */
export interface LegalRow {
  readonly time: number | null;
  /** Id, name and e-mail address. */
  readonly users: ReadonlyArray<string | null>;
  readonly resourceTypes: ReadonlyArray<string | null>;
  readonly resourceIds: ReadonlyArray<string | null>;
}

/** @param values in the order of COLUMN_KEYS */
export function legalRowOf(values: readonly SqlValue[], time: number | null): LegalRow {
  return {
    time,
    users: [textOf(values[2]), textOf(values[3]), textOf(values[4])],
    resourceTypes: [textOf(values[6])],
    resourceIds: [textOf(values[7])],
  };
}

/** A snapshot of the legal holds of a directory. */
export class LegalHolds {
  static readonly NONE = new LegalHolds([], []);
  readonly inForce: readonly HoldRecord[];
  /** Releases that are not in state.db: they do not count. */
  readonly unrecorded: readonly LegalLink[];
  private readonly matchers: ReadonlyArray<(row: LegalRow) => boolean>;

  constructor(
    readonly links: readonly LegalLink[],
    recorded: readonly KnownRecord[],
  ) {
    const known = new Set(recorded.map(({ sha256 }) => sha256));
    const released = new Set<number>();
    const unrecorded: LegalLink[] = [];
    for (const link of links) {
      if (link.record.kind !== 'legal_release') continue;
      if (known.has(link.sha256)) released.add(link.record.releases);
      else unrecorded.push(link);
    }
    this.unrecorded = unrecorded;
    this.inForce = links
      .map(({ record }) => record)
      .filter((record) => record.kind === 'legal_hold')
      .filter(({ number }) => !released.has(number));
    this.matchers = this.inForce.map(matcherOf);
  }

  /** SHA-256 of the file of the newest record; null if there is none. */
  get head(): string | null {
    return this.links.at(-1)?.sha256 ?? null;
  }

  get hasAny(): boolean {
    return this.inForce.length > 0;
  }

  covers(row: LegalRow): boolean {
    return this.matchers.some((matches) => matches(row));
  }

  /** Whether a row between these times, both inclusive, may be held, depending on its other columns. */
  mayCover(first: number, last: number): boolean {
    return this.inForce.some(({ filter: { from, to } }) => {
      const isBefore = to !== undefined && first >= Date.parse(to);
      return !isBefore && (from === undefined || last >= Date.parse(from));
    });
  }
}

/** Matches as a query with the same filter does (query/scan/matcher.ts), except that unknown values match. */
function matcherOf({ filter }: HoldRecord): (row: LegalRow) => boolean {
  const { user, resource_type: type, resource_id: id } = filter;
  const [from, to] = [timeOf(filter.from), timeOf(filter.to)];
  const isType = type === undefined ? null : createResourceMatcher(type);
  return ({ time, users, resourceTypes, resourceIds }) =>
    (from === null || time === null || time >= from) &&
    (to === null || time === null || time < to) &&
    (user === undefined || users.includes(user)) &&
    (isType === null || resourceTypes.some(isType)) &&
    (id === undefined || resourceIds.includes(id));
}

function timeOf(text: string | undefined): number | null {
  return text === undefined ? null : Date.parse(text);
}

/**
 * @param recorded the records in state.db: each must exist unchanged
 * @throws AuditdError `ARCHIVE_BROKEN` that names the file, `ARCHIVE_FAILED`
 */
export function readLegalHolds(
  directory: string,
  recorded: readonly KnownRecord[],
  unreadable?: Unreadable,
): LegalHolds {
  const contents = contentsOf(directory);
  const links = readLegalChain(directory, { contents, ...(unreadable === undefined ? {} : { unreadable }) });
  checkRecorded(directory, links, recorded);
  return new LegalHolds(links, recorded);
}

/** The holds of a directory while rows are deleted. A new record has the next number, so one call finds it. */
export class LegalWatch {
  private holds: LegalHolds;

  /** @throws as `readLegalHolds` */
  constructor(
    private readonly directory: string,
    private readonly recorded: readonly KnownRecord[],
    private readonly unreadable?: Unreadable,
  ) {
    this.holds = this.read();
  }

  /** @throws as `readLegalHolds` */
  get current(): LegalHolds {
    if (this.isChanged()) this.holds = this.read();
    return this.holds;
  }

  /** Whether there is a record that `current` did not have. @throws AuditdError `ARCHIVE_FAILED` */
  isChanged(): boolean {
    const path = join(this.directory, holdName(this.holds.links.length + 1));
    try {
      return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    } catch (error) {
      throw archiveFailed(`${path} can't be examined`, error);
    }
  }

  private read(): LegalHolds {
    return readLegalHolds(this.directory, this.recorded, this.unreadable);
  }
}
