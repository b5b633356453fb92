import type { PublicSource } from '../audit/event.js';
import type { ArchiveRecord } from './archive/recorded-heads.js';

/** Who started a run. A name given by a command is a claim: anyone who may open the control socket can give any name. */
export type Actor =
  | { readonly kind: 'scheduled' }
  | { readonly kind: 'command'; readonly name: string | null; readonly claimed: true };

export function byCommand(name: string | null): Actor {
  return { kind: 'command', name, claimed: true };
}

/** The archive whose rows are to be deleted, as its event names it. */
export interface PurgeSubject {
  readonly source: PublicSource;
  readonly month: string;
  /** Of the archive file; the key of everything saved about it. */
  readonly sha256: string;
  readonly record: ArchiveRecord;
}

/** The deletion in progress of an archive's rows. */
export interface DeletionIntent {
  readonly subject: PurgeSubject;
  readonly by: Actor;
  readonly policy: unknown;
  /** False: missing rows may have been deleted before this state.db recorded the archive. */
  readonly isWhole: boolean;
  /** Rows that we deleted, and how many of them an event reported. */
  readonly deleted: number;
  readonly told: number;
  /** Rows that others removed, as far as an event reported them. */
  readonly toldGone: number;
  /** Requested blocks without an answer, each with the number of its rows that were in the table at the request. */
  readonly open: Readonly<Record<number, number>>;
  readonly isResumed: boolean;
}
