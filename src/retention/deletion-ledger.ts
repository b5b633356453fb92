import { groupedDigits } from '../grouped-digits.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { IdRange } from '../shipping/id-ranges.js';
import type { State } from '../shipping/state.js';
import type { SinceDelivery } from './archive/manifest.js';
import type { DeliveryChange } from './changes-since-delivery.js';
import type { Actor, DeletionIntent, PurgeSubject } from './deletion-intent.js';
import { NOTHING, type Purged, sum } from './purge/protocol.js';
import type { Notes } from './saved-state.js';
import type { PurgedNote } from './unfinished-archives.js';

/** Passed before the deletion of a block is requested. */
export interface PurgeStep {
  readonly subject: PurgeSubject;
  readonly block: number;
  /** Rows of the block that are currently in the table. */
  readonly present: number;
  /** False: an earlier run wrote the archive. */
  readonly isNew: boolean;
  readonly timeline: number;
  /** Rows of the block. */
  readonly ids: readonly IdRange[];
  /** Changes to rows between delivery and archiving, as stated in the archive; with its first block. */
  readonly change: DeliveryChange | null;
}

export interface PurgeLedgerOptions {
  readonly state: Pick<State, 'durably' | 'accounted'>;
  readonly notes: Pick<Notes, 'intents' | 'purged'>;
  readonly directory: string;
  /** Writes an event into state.db, in the open transaction. Throws if that fails. */
  readonly write: (entry: NewEntry) => void;
}

/** Totals over the blocks of one archive, from the first block. */
interface Pass {
  readonly sha256: string;
  readonly counts: Purged;
  readonly block: number;
  /** The block was requested before, and the answer is unknown. */
  readonly isAgain: boolean;
}

const NO_PASS: Pass = { sha256: '', counts: NOTHING, block: -1, isAgain: false };

/**
 * Keeps account of deletions, so that their events add up to the deleted rows, whichever process crashes at whatever time.
 *
 * Before each block its intent is durable, with the number of its rows in the table. The answer is written with the next intent. A block
 * without a recorded answer is requested again: rows that have gone by then count as deleted by us, because a purge may continue after a
 * crash of the daemon. Rows removed by others in between can't be distinguished. An archive is finished in one transaction: its event, the
 * note that it is purged, and the end of the intent.
 */
export class PurgeLedger {
  private readonly intents: Map<string, DeletionIntent>;
  /** Totals of this pass over an archive. */
  private pass: Pass = NO_PASS;

  constructor(private readonly options: PurgeLedgerOptions) {
    this.intents = new Map(options.notes.intents.map((intent) => [intent.subject.sha256, intent]));
  }

  /** Archives that were begun and not finished. */
  get unsettled(): readonly string[] {
    return [...this.intents.keys()];
  }

  /** @returns a message for people if this call recorded that rows were changed before they were archived */
  begin(step: PurgeStep, by: Actor, policy: unknown): string | null {
    const { subject, block, present, isNew } = step;
    const { sha256 } = subject;
    const counts = this.pass.sha256 === sha256 && block > this.pass.block ? this.pass.counts : NOTHING;
    const known = this.intents.get(sha256);
    const base: DeletionIntent = known ?? {
      subject,
      by,
      policy,
      isWhole: isNew,
      deleted: 0,
      told: 0,
      toldGone: 0,
      open: {},
      isResumed: !isNew,
    };
    const isAgain = base.open[block] !== undefined;
    this.pass = { sha256, counts, block, isAgain };
    const open = isAgain ? base.open : { ...base.open, [block]: present };
    this.intents.set(sha256, { ...base, open, isResumed: base.isResumed || !isNew });
    return this.options.state.durably(() => {
      this.save();
      return this.accountRows(step, known === undefined);
    });
  }

  /** The rows of the block are archived. Rows missing up to there are reported once, before the first row of the archive is deleted. */
  private accountRows({ subject, timeline, ids, change }: PurgeStep, isFirst: boolean): string | null {
    const { accounted } = this.options.state;
    accounted.add(subject.source, timeline, ids);
    // In the intent's transaction, so that a crash between the archive and its event loses no event.
    if (isFirst) this.options.write(archivedEntry(subject));
    if (change === null) return null;
    accounted.addSaid(subject.source, timeline, change.missing);
    const entry = changedEntry(subject, change.said);
    if (!isFirst || entry === null) return null;
    this.options.write(entry);
    return changedText(subject, change.said);
  }

  /** Records the purge's answer for the last requested block. */
  recordAnswer(purged: Purged): void {
    const { sha256, counts, block, isAgain } = this.pass;
    this.pass = { ...this.pass, counts: sum(counts, { ...purged, refused_ids: [] }) };
    const intent = this.intents.get(sha256);
    if (intent === undefined) return;
    const { [block]: present = 0, ...open } = intent.open;
    const still = purged.differ + purged.young + purged.kept + purged.held + purged.legal_hold;
    const deleted = isAgain ? Math.max(purged.deleted, present - still) : purged.deleted;
    this.intents.set(sha256, { ...intent, deleted: intent.deleted + deleted, open });
  }

  /**
   * Finishes the pass over an archive.
   *
   * @param note every deletable row up to this archive is deleted; null: rows of it, or of an earlier archive, stay for now
   */
  settle(sha256: string, note: PurgedNote | null, by: Actor): void {
    const intent = this.intents.get(sha256);
    const { counts } = this.pass;
    this.pass = NO_PASS;
    const before = new Map(this.intents);
    try {
      this.options.state.durably(() => {
        if (intent !== undefined) this.recordPurge(intent, counts, by);
        if (note !== null) {
          for (const [key, { subject }] of this.intents)
            if (subject.record.sequence <= note.sequence) this.intents.delete(key);
          this.options.notes.purged = note;
        }
        this.save();
      });
    } catch (error) {
      this.intents.clear();
      for (const [key, value] of before) this.intents.set(key, value);
      throw error;
    }
  }

  /** Records the known deletions of intents that no run will resume. */
  recordInterrupted(): void {
    for (const intent of [...this.intents.values()]) {
      const { subject, deleted, told, by, policy } = intent;
      if (deleted <= told) continue;
      this.options.state.durably(() => {
        const { source, month, record, sha256 } = subject;
        const archive = { ...record, month, sha256, directory: this.options.directory };
        const details = { source, archive, deleted: deleted - told, by, policy, broken_off: true };
        this.options.write({ action: 'daemon.purge', resourceId: sha256, details });
        this.intents.set(sha256, { ...intent, told: deleted });
        this.save();
      });
    }
  }

  private recordPurge(intent: DeletionIntent, counts: Purged, by: Actor): void {
    const { subject, deleted, told, toldGone, isWhole, policy } = intent;
    const gone = Math.max(0, counts.gone + counts.deleted - deleted);
    const fresh = { deleted: deleted - told, gone: gone - toldGone };
    this.intents.set(subject.sha256, {
      ...intent,
      told: deleted,
      toldGone: Math.max(gone, toldGone),
      isWhole: true,
    });
    const { differ, young, kept, held, legal_hold: onHold } = counts;
    if (fresh.deleted + Math.max(0, fresh.gone) + differ + young + kept + onHold === 0) return;
    const { source, month, record } = subject;
    this.options.write({
      action: 'daemon.purge',
      resourceId: subject.sha256,
      details: {
        source,
        archive: { ...record, month, sha256: subject.sha256, directory: this.options.directory },
        deleted: fresh.deleted,
        // The archive is older than this state.db: it is unknown who removed its rows.
        [isWhole ? 'removed_by_others' : 'gone_before']: Math.max(0, fresh.gone),
        changed_meanwhile: differ,
        refused: young,
        kept,
        held_back: held,
        ...(onHold === 0 ? {} : { legal_hold: onHold }),
        resumed: intent.isResumed,
        by,
        ...(sameActor(by, intent.by) ? {} : { begun_by: intent.by }),
        policy,
      },
    });
  }

  private save(): void {
    this.options.notes.intents = [...this.intents.values()];
  }
}

/** The event of a new archive, with the hash by which `archive verify` finds the end of the chain. */
function archivedEntry({ source, month, record }: PurgeSubject): NewEntry {
  return { action: 'daemon.archive_create', details: { source, month, archives: [record] } };
}

/** The event of rows changed or deleted between delivery and archiving; null if there are none. */
function changedEntry({ source, month, sha256, record }: PurgeSubject, said: SinceDelivery): NewEntry | null {
  if (said.differ + said.missing === 0) return null;
  return {
    action: 'daemon.rows_changed',
    resourceId: sha256,
    details: { source, archive: { ...record, month, sha256 }, ...said },
  };
}

/** The message for people about rows changed or deleted before they were archived. */
function changedText({ source, record }: PurgeSubject, { differ, missing }: SinceDelivery): string {
  const rows = (count: number, one: string, many: string) =>
    count === 1 ? `1 row ${one}` : `${groupedDigits(count)} rows ${many}`;
  const changed = rows(differ, 'of it differs', 'of it differ');
  return `source ${source}, archive ${record.sequence}: ${changed} from what was delivered, ${rows(missing, 'is', 'are')} missing since`;
}

function sameActor(a: Actor, b: Actor): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
