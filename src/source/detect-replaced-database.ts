import type { HighWaterMark } from './source.js';

/** What one read transaction shows of the history behind the path. */
export interface Evidence {
  readonly mark: HighWaterMark;
  /** Fingerprint of the row at the mark; null if that row is gone. */
  readonly atMark: string | null;
  /** `sqlite_sequence.seq` of the table; null without AUTOINCREMENT, or if the row was removed. */
  readonly sequence: number | null;
  /** Highest id in the table, 0 if it is empty. */
  readonly maxId: number;
  /**
   * If the row at the mark is gone, the highest row below it: its fingerprint, and the one recorded when it was read (null if none was).
   * Null if there is no such row.
   */
  readonly probe: { readonly id: number; readonly found: string; readonly recorded: string | null } | null;
  /**
   * Called if a row differs: true if the rows read last are known, and each of them that exists and differs still has its
   * `created_at`.
   */
  readonly onlyEdited: () => boolean;
}

export interface HistoryVerdict {
  /** `deleted`: the row at the mark was deleted by hand, the history is the same. */
  /** `edited`: the row at the mark exists and differs; the history is the same. */
  readonly history: 'same' | 'edited' | 'deleted' | 'replaced';
  /** For people. */
  readonly reason: string;
}

/** Whether this is the history that the mark was made in. A wrong "replaced" costs a scan of the table; a wrong "same" loses events. */
export function compareHistory({
  mark,
  atMark,
  sequence,
  maxId,
  probe,
  onlyEdited,
}: Evidence): HistoryVerdict {
  if (mark.id === 0) return { history: 'same', reason: 'nothing has been read yet' };
  if (atMark !== null) {
    if (mark.fingerprint === null) return { history: 'same', reason: `row ${mark.id} was not recorded` };
    if (atMark === mark.fingerprint) return { history: 'same', reason: `row ${mark.id} is as it was read` };
    // Without a sequence, reset ids can't be detected: the row at the mark exists.
    if ((sequence === null || sequence >= mark.id) && onlyEdited())
      return { history: 'edited', reason: `row ${mark.id} was edited` };
    return { history: 'replaced', reason: `row ${mark.id} is not the one that was read` };
  }
  if (sequence !== null && sequence < mark.id) {
    return {
      history: 'replaced',
      reason: `ids have reached ${sequence} only, and row ${mark.id} had been read`,
    };
  }
  if (probe !== null && probe.recorded !== null && probe.found !== probe.recorded && !onlyEdited()) {
    return {
      history: 'replaced',
      reason: `row ${mark.id} is gone, and row ${probe.id} is not the one that was read`,
    };
  }
  if (sequence !== null || maxId > mark.id)
    return { history: 'deleted', reason: `row ${mark.id} was deleted` };
  // Without a sequence, ids of deleted rows at the end are reused.
  if (maxId === 0) return { history: 'same', reason: 'the table is empty' };
  return { history: 'replaced', reason: `ids end at ${maxId}, and row ${mark.id} had been read` };
}
