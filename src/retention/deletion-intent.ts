import type { PublicSource } from '../audit/event.js';
import type { ArchiveRecord } from './archive/recorded-heads.js';

/** Who began a run. A name that a command gives is what it says: whoever may open the control socket may say what he likes. */
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
  /** Of the file; the key of all that is remembered of it. */
  readonly sha256: string;
  readonly record: ArchiveRecord;
}

/** What is being deleted of an archive. */
export interface DeletionIntent {
  readonly subject: PurgeSubject;
  readonly by: Actor;
  readonly policy: unknown;
  /** False: rows that are gone may have been deleted before this state knew of the archive. */
  readonly isWhole: boolean;
  /** Rows that we have deleted, and how many of them an event has reported. */
  readonly deleted: number;
  readonly told: number;
  /** Rows that others removed, as far as an event has reported them. */
  readonly toldGone: number;
  /** Blocks that were asked for and not answered, each with how many of its rows were in the table then. */
  readonly open: Readonly<Record<number, number>>;
  readonly isResumed: boolean;
}
