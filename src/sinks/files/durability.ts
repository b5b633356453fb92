import type { Logger } from 'pino';
import type { AuditdError } from '../../errors.js';
import type { AppendFile } from './append-file.js';
import { diskError } from './disk-error.js';
import type { WriteProgress } from './file-position.js';

export interface DurabilityOptions {
  /** False where lines are worth nothing after a reboot: a failed fdatasync is then no reason to write them again. */
  readonly distrustFailedSync: boolean;
  readonly log: Logger;
}

/** Brings what is written onto the medium, one fdatasync at a time, and remembers one that failed. */
export class Durability {
  private running: Promise<void> | null = null;
  private error: AuditdError | null = null;
  private failed = false;

  constructor(private readonly options: DurabilityOptions) {}

  /** True if pages may be lost although they read well: until `resetTrust`. */
  get distrusted(): boolean {
    return this.failed;
  }

  /** Throws the error of an fdatasync in the background. */
  rethrow(): void {
    if (this.error !== null) throw this.error;
  }

  /** Starts an fdatasync in the background, if there is something for it and none is running. */
  startSync(handle: AppendFile, progress: WriteProgress): void {
    if (progress.undurable === 0) return;
    this.running ??= this.datasync(handle, progress)
      .catch(() => undefined) // kept for `rethrow`
      .finally(() => {
        this.running = null;
      });
  }

  /** Everything written is on the medium when it resolves. */
  async finishSync(handle: AppendFile, progress: WriteProgress): Promise<void> {
    await this.running;
    this.rethrow(); // another one might succeed though the first one's pages are lost
    if (progress.undurable > 0) await this.datasync(handle, progress);
  }

  /** Waits for what is running, so that its file can be closed. */
  async waitForSync(): Promise<void> {
    await this.running;
    this.error = null;
  }

  /** The untrusted pages have been truncated, or their file is gone. */
  resetTrust(): void {
    this.error = null;
    this.failed = false;
  }

  async datasync(handle: AppendFile, progress: WriteProgress): Promise<void> {
    const { distrustFailedSync, log } = this.options;
    const done = progress.syncing();
    try {
      await handle.datasync();
    } catch (cause) {
      const error = diskError('cannot make durable', handle.path, cause);
      if (distrustFailedSync) {
        this.failed = true;
        this.error = error;
        throw error;
      }
      log.debug({ err: error }, error.message);
    }
    done();
  }
}
