import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { AuditdError } from '../errors.js';
import { type Removal, readAnchorStanding, whyNotAdopted } from './archive/anchor.js';
import { ANCHOR, contentsOf } from './archive/archive-files.js';
import { placeAnchor } from './archive/expire.js';
import { checkSigned, Unsealed } from './archive/manifest.js';
import type { ChainHead } from './archive/manifest-chain.js';
import type { PurgedNote } from './unfinished-archives.js';

/** What a run found out about the anchor in the directory, for the thread that writes state.db. */
export type AnchorNote =
  /** To be recorded; with an event where an anchor was adopted. */
  | { readonly record: Removal }
  | {
      readonly refused: {
        readonly directory: string;
        readonly why: string;
        /** Of the rejected anchor; null if it can't be read. */
        readonly sequence: number | null;
        readonly sha256: string | null;
        /** The anchor was rewritten from the record. */
        readonly replaced: boolean;
      };
    };

export interface BeginOptions {
  readonly directory: string;
  readonly removals: readonly Removal[];
  readonly purged: PurgedNote | null;
  readonly sign: KeyObject | null;
  readonly clock: () => number;
  readonly onAnchor: (note: AnchorNote) => void;
}

export interface SettledBegin {
  readonly begin: ChainHead;
  /** The last archive that the daemon decided to remove, by the record; 0 if there is none. */
  readonly decided: number;
}

/**
 * Determines where the chain begins: as recorded in state.db, whatever the anchor says. An anchor without a record is adopted once, in
 * the first run of a state.db in this directory (after an upgrade, or the loss of state.db), if adopting it removes no archive. Otherwise it
 * does not count, and the run continues without it.
 *
 * @throws AuditdError `ARCHIVE_BROKEN`, `ARCHIVE_FAILED`
 */
export function settleChainBegin(options: BeginOptions): SettledBegin {
  const { directory, removals, sign, clock, onAnchor } = options;
  const contents = contentsOf(directory);
  let standing = readAnchorStanding(directory, removals, contents);
  let why = standing.refused;
  if (!removals.some((one) => one.directory === directory)) {
    const time = new Date(clock()).toISOString();
    let record: Removal = { directory, sequence: 0, sha256: null, time, adopted: null };
    if (standing.record !== null)
      record = { ...standing.record, directory }; // the directory was moved
    else if (standing.anchor !== null) {
      const { anchor } = standing;
      const not = whyNotAdopted(directory, anchor, { key: sign, end: endOf(options) });
      why = not ?? why;
      if (not === null) record = adoptedRecord(directory, anchor, time, 'upgrade');
    }
    onAnchor({ record });
    standing = readAnchorStanding(directory, [...removals, record], contents);
    if (standing.matches) why = null;
  }
  const { record, anchor, begin } = standing;
  const counts = record !== null && record.sequence === anchor?.sequence && isSigned(anchor, sign);
  if (record !== null && !counts) placeAnchor(directory, record, sign);
  if (why !== null)
    onAnchor({
      refused: {
        directory,
        why,
        sequence: anchor?.sequence ?? null,
        sha256: anchor?.sha256 ?? null,
        replaced: record !== null,
      },
    });
  return { begin, decided: record !== null && record.adopted === null ? record.sequence : 0 };
}

/** Adopts an anchor by command. @returns the record to save @throws AuditdError `NOT_FOUND`, `CONFLICT` if it is recorded already, or can't be adopted */
export function adoptAnchor(options: Omit<BeginOptions, 'onAnchor'>): Removal {
  const { directory, removals, sign, clock } = options;
  const path = join(directory, ANCHOR);
  const { anchor, matches, refused } = readAnchorStanding(directory, removals);
  if (anchor === null && refused === null) throw new AuditdError('NOT_FOUND', `${path} is not there`);
  if (anchor === null) throw cantBeAdopted(path, refused ?? '');
  if (matches) throw new AuditdError('CONFLICT', `${path} is recorded already: there is nothing to adopt`);
  const not = whyNotAdopted(directory, anchor, { key: sign, end: endOf(options) });
  if (not !== null) throw cantBeAdopted(path, not);
  return adoptedRecord(directory, anchor, new Date(clock()).toISOString(), 'command');
}

/** Not final: the reason against it is in the directory. */
function cantBeAdopted(path: string, why: string): AuditdError {
  return new AuditdError('CONFLICT', `${path} can't be adopted: ${why}`, {
    next: "If nobody removed archives, remove this file: it is not the daemon's",
  });
}

function adoptedRecord(
  directory: string,
  { sequence, previous_sha256: sha256 }: { readonly sequence: number; readonly previous_sha256: string },
  time: string,
  adopted: 'upgrade' | 'command',
): Removal {
  return { directory, sequence, sha256, time, adopted };
}

function endOf({ directory, purged }: Pick<BeginOptions, 'directory' | 'purged'>): number | null {
  return purged !== null && purged.directory === directory ? purged.sequence : null;
}

function isSigned(anchor: Parameters<typeof checkSigned>[0], sign: KeyObject | null): boolean {
  if (sign === null) return true;
  try {
    checkSigned(anchor, sign);
    return true;
  } catch (error) {
    if (error instanceof Unsealed) return false;
    throw error;
  }
}
