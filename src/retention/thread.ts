import { Worker } from 'node:worker_threads';
import type { PublicSource } from '../audit/event.js';
import { AuditdError, messageOf } from '../errors.js';
import { programFile } from '../installation.js';
import type { IdRange } from '../shipping/id-ranges.js';
import type { Removal } from './archive/anchor.js';
import type { ExpiredArchive } from './archive/expire.js';
import type { PurgeStep } from './deletion-ledger.js';
import { fromErrorParts } from './error-parts.js';
import type { Purged, RowToDelete } from './purge/protocol.js';
import type { Archived, RunProgress } from './run.js';
import type { AnchorNote } from './settle-chain-begin.js';
import type { FromThread, RunData, RunOutcome, ToThread } from './thread-protocol.js';
import type { PurgedNote } from './unfinished-archives.js';

/** A run stops between two steps. After this time its thread is terminated, which has the effect of a crash. */
const GRACE_MS = 2_000;

export interface RetentionThreadOptions {
  readonly data: RunData;
  readonly onProgress: (progress: RunProgress) => void;
  readonly onArchived: (archived: Archived) => void;
  readonly onDeleted: (source: PublicSource, purged: Purged) => void;
  readonly onPurged: (note: PurgedNote) => void;
  /** Called before each request to the purge, which waits for it. */
  readonly onPurging: (step: PurgeStep) => void;
  readonly onSettled: (sha256: string, note: PurgedNote | null) => void;
  readonly onAnchor: (note: AnchorNote) => void;
  readonly onBaseline: (source: PublicSource, timeline: number, gone: readonly IdRange[]) => void;
  /** Records which archives are past their age and which of them to remove now. */
  readonly onExpired: (expired: readonly ExpiredArchive[], holds: string | null) => Promise<Removal | null>;
  /** Deletes rows of our own table. */
  readonly deleteOwn: (rows: readonly RowToDelete[]) => Purged;
  /** The compiled worker.js, if not the program's own. */
  readonly worker?: URL;
}

/** One run in a thread of its own. */
export class RunThread {
  readonly outcome: Promise<RunOutcome>;
  private readonly worker: Worker;
  private readonly exited: Promise<void>;
  /** Why this side terminated the thread. */
  private trouble: AuditdError | null = null;
  /** Why the thread was asked to stop. */
  private stopped: AuditdError | null = null;

  constructor(options: RetentionThreadOptions) {
    const { data, worker } = options;
    this.worker = new Worker(worker ?? programFile('retention/worker.js'), {
      workerData: data,
      // Closed with the thread, the descriptors of source/read-in-place.ts would drop the locks of other threads.
      trackUnmanagedFds: false,
    });
    this.exited = new Promise((done) => this.worker.once('exit', () => done()));
    this.outcome = new Promise((resolve, reject) => {
      this.worker.on('message', (said: FromThread) => {
        // Sent before the thread was terminated, even a success. Only deletions still count.
        if (this.trouble !== null && !('deleted' in said)) return;
        if ('outcome' in said) resolve(said.outcome);
        else if ('failed' in said) reject(fromErrorParts(said.failed));
        else this.handleMessage(said, options);
      });
      this.worker.once('error', reject);
      this.worker.once('exit', () =>
        reject(this.trouble ?? this.stopped ?? new Error('the thread of the run ended')),
      );
    });
    this.outcome.catch(() => undefined); // reported by whoever awaits it
  }

  /** @param why the error that the run fails with */
  async stop(why: string): Promise<void> {
    this.stopped ??= new AuditdError('PURGE_FAILED', why); // the thread may not live to report it
    this.send({ stop: why });
    const late = setTimeout(() => void this.worker.terminate(), GRACE_MS);
    await this.exited;
    clearTimeout(late);
  }

  /** A failed write to state.db for the thread fails the run, not the daemon. */
  private handleMessage(
    said: Exclude<FromThread, { outcome: unknown } | { failed: unknown }>,
    options: RetentionThreadOptions,
  ): void {
    const { onProgress, onArchived, onDeleted, onPurged, onPurging, onSettled } = options;
    const { onAnchor, onBaseline, onExpired, deleteOwn } = options;
    try {
      if ('progress' in said) onProgress(said.progress);
      else if ('archived' in said) onArchived(said.archived);
      else if ('deleted' in said) onDeleted(said.source, said.deleted);
      else if ('purged' in said) onPurged(said.purged);
      else if ('settled' in said) onSettled(said.settled, said.note);
      else if ('purging' in said) {
        onPurging(said.purging);
        this.send({ begun: true });
      } else if ('anchor' in said) onAnchor(said.anchor);
      else if ('baseline' in said) onBaseline(said.source, said.timeline, said.baseline);
      else if ('expired' in said)
        onExpired(said.expired, said.holds).then(
          (expire) => this.send({ expire }),
          (error: unknown) => this.failWith(error),
        );
      else this.send({ own: deleteOwn(said.own) });
    } catch (error) {
      this.failWith(error);
    }
  }

  private failWith(error: unknown): void {
    const what = `The run can't write to state.db: ${messageOf(error)}`;
    const next = 'See that the disk of the state directory has room; the next run resumes this one';
    const ofState = () => new AuditdError('STATE_UNUSABLE', what, { next, cause: error });
    this.trouble = error instanceof AuditdError ? error : ofState(); // an error about legal holds has its own next step
    void this.worker.terminate();
  }

  private send(told: ToThread): void {
    this.worker.postMessage(told);
  }
}
