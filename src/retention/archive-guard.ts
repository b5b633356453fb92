import type { Logger } from 'pino';
import type { NewEntry } from '../recorder/recorder.js';
import type { State } from '../shipping/state.js';
import type { Removal } from './archive/anchor.js';
import type { ExpiredArchive } from './archive/expire.js';
import type { Actor } from './deletion-intent.js';
import {
  confirmClock,
  countUptime,
  EXPIRY_WAIT_MS,
  type ExpiryNote,
  mayGoUpTo,
  recordExpired,
  type UptimeLook,
} from './expiry.js';
import type { Notes } from './saved-state.js';
import type { AnchorNote } from './settle-chain-begin.js';

/** Archives named by one event, whose line has a size limit. */
const NAMED_AT_ONCE = 100;

export interface GuardOptions {
  readonly state: Pick<State, 'durably'>;
  readonly notes: Notes;
  readonly directory: string;
  /** How long archives are kept, ms; null: for ever. */
  readonly keep: number | null;
  readonly readClocks: () => UptimeLook;
  readonly synchronised: () => Promise<boolean | null>;
  readonly record: (entry: NewEntry) => void;
  /** Writes an event in the open transaction; throws if that fails. */
  readonly write: (entry: NewEntry) => void;
  /** Called once the transaction is committed. */
  readonly onRecorded: () => void;
  readonly log: Pick<Logger, 'warn'>;
}

/** Archives that are past their age and not removed yet. */
export interface ExpiryStatus {
  readonly archives: number;
  /** How much longer the machine has to run before the oldest may be removed, ms. */
  readonly wait: number;
  /** Whether the clock was trusted at the last check; null: nothing was due for removal. */
  readonly clock_known: boolean | null;
}

/** Decides which archives may be removed and whether an anchor is trusted. Runs in the main thread, which writes state.db. */
export class ArchiveGuard {
  private note: ExpiryNote;
  private known: boolean | null = null;

  constructor(private readonly options: GuardOptions) {
    this.note = countUptime(options.notes.expiry, options.readClocks());
  }

  /** The previous instance may have written the note in the meantime. */
  start(): void {
    this.note = countUptime(this.options.notes.expiry, this.options.readClocks());
  }

  updateUptime(): void {
    this.note = countUptime(this.note, this.options.readClocks());
  }

  save(): void {
    this.options.notes.expiry = this.note;
  }

  /**
   * Records which archives are past their age and decides which of them to remove. The decision is durable before the first removal.
   *
   * @param isFree whether no legal hold was created since the archives were searched for held rows
   * @returns the newest archive to remove; null if there is none
   */
  async expire(
    archives: readonly ExpiredArchive[],
    by: Actor,
    isFree: () => boolean,
  ): Promise<Removal | null> {
    const { directory, synchronised } = this.options;
    this.updateUptime();
    const known = new Set(this.note.expired.map(({ sha256 }) => sha256));
    this.note = recordExpired(this.note, directory, archives);
    const fresh = archives.filter(({ sha256 }) => !known.has(sha256));
    if (fresh.length > 0)
      this.recordNamed(
        'daemon.archive_expire',
        fresh,
        { goes_after_hours: EXPIRY_WAIT_MS / 3_600_000, by },
        this.options.record,
      );
    this.save();
    this.known = null;
    const upTo = mayGoUpTo(this.note);
    if (upTo === 0) return null;
    const isKnown = this.note.confirmed !== null || (await synchronised()) === true;
    this.known = isKnown;
    const newest = archives.find(({ sequence }) => sequence === upTo);
    if (!isKnown || newest === undefined || !isFree()) return null;
    const time = new Date(this.note.wall).toISOString();
    const removal: Removal = { directory, sequence: upTo, sha256: newest.sha256, time, adopted: null };
    this.durably((write) => {
      this.addRemoval(removal);
      this.note = recordExpired(
        this.note,
        directory,
        archives.filter(({ sequence }) => sequence > upTo),
      );
      this.save();
      this.recordNamed(
        'daemon.archive_delete',
        archives.filter(({ sequence }) => sequence <= upTo),
        { by },
        write,
      );
    });
    return removal;
  }

  /** Records what a run found out about the anchor. */
  recordAnchor(note: AnchorNote, by: Actor): void {
    const { record, log, notes } = this.options;
    if ('record' in note) {
      const { sequence, sha256, time, adopted } = note.record;
      this.durably((write) => {
        this.addRemoval(note.record);
        if (adopted === null) return;
        write({
          action: 'daemon.anchor_adopt',
          details: { how: adopted, removed_up_to: sequence, sha256, time, by },
        });
      });
      return;
    }
    const { refused } = note;
    log.warn(refused, `retention: ${refused.directory}/anchor.json does not count: ${refused.why}`);
    const said = JSON.stringify(refused);
    if (notes.refusedAnchor === said) return; // once, not each night
    notes.refusedAnchor = said;
    record({ action: 'daemon.anchor_refuse', details: { ...refused, by } });
  }

  /** Adopts an anchor at an operator's command. */
  adopt(removal: Removal, by: Actor): void {
    const { sequence, sha256, time } = removal;
    this.durably((write) => {
      this.addRemoval(removal);
      write({
        action: 'daemon.anchor_adopt',
        details: { how: 'command', removed_up_to: sequence, sha256, time, by },
      });
    });
  }

  /** Records that the operator confirmed the clock. @returns the time it shows, ISO 8601 */
  confirmClock(by: Actor): string {
    this.updateUptime();
    this.note = confirmClock(this.note);
    const clock = new Date(this.note.wall).toISOString();
    this.durably((write) => {
      this.save();
      write({ action: 'daemon.clock_confirm', details: { clock, by } });
    });
    return clock;
  }

  status(): ExpiryStatus | null {
    const { expired, total, directory } = this.note;
    const [oldest] = expired;
    if (oldest === undefined || directory !== this.options.directory) return null;
    const wait = Math.max(0, EXPIRY_WAIT_MS - (total - oldest.since));
    return { archives: expired.length, wait, clock_known: this.known };
  }

  /** Writes a note and its event in one transaction, which is durable when this returns. */
  private durably(work: (write: (entry: NewEntry) => void) => void): void {
    const { state, write, onRecorded } = this.options;
    state.durably(() => work(write));
    onRecorded();
  }

  private addRemoval(removal: Removal): void {
    const { notes } = this.options;
    notes.removals = [...notes.removals, removal];
  }

  private recordNamed(
    action: string,
    archives: readonly ExpiredArchive[],
    more: Readonly<Record<string, unknown>>,
    record: (entry: NewEntry) => void,
  ): void {
    const { keep } = this.options;
    const rule = `retention.archive.keep: ${keep === null ? 'forever' : `${keep / 86_400_000}d`}`;
    for (let at = 0; at < archives.length; at += NAMED_AT_ONCE) {
      const some = archives.slice(at, at + NAMED_AT_ONCE);
      record({
        action,
        details: {
          rule,
          ...more,
          archives_removed: action === 'daemon.archive_delete' ? some.length : 0,
          rows: some.reduce((sum, { count }) => sum + count, 0),
          months: [...new Set(some.map(({ month }) => month))],
          archives: some.map(({ sha256: manifest_sha256, ...facts }) => ({ ...facts, manifest_sha256 })),
        },
      });
    }
  }
}
