import type { PublicSource } from '../audit/event.js';
import type { Config } from '../config/schema.js';
import type { IdRange } from '../shipping/id-ranges.js';
import type { ColumnsRead } from '../source/columns-seen.js';
import type { Removal } from './archive/anchor.js';
import type { ExpiredArchive } from './archive/expire.js';
import type { KnownRecord } from './archive/legal-hold-records.js';
import type { PurgeStep } from './deletion-ledger.js';
import type { ErrorParts } from './error-parts.js';
import type { FileIdentity } from './file-identity.js';
import type { RunPlan } from './plan.js';
import type { Purged, RowToDelete } from './purge/protocol.js';
import type { Archived, RunProgress, RunResult } from './run.js';
import type { AnchorNote } from './settle-chain-begin.js';
import type { Hold } from './sink-holds.js';
import type { PurgedNote } from './unfinished-archives.js';

/** Start parameters of the thread of a run. */
export interface RunData {
  /** Dry run: only report what would be deleted. */
  readonly dry: boolean;
  readonly config: Config & { readonly server: string };
  readonly configPath: string | null;
  readonly env: NodeJS.ProcessEnv;
  readonly stateDatabase: string;
  readonly sourceId: string;
  /** The names under which the columns of Postern's table were read. */
  readonly columnsRead: ColumnsRead;
  readonly purged: PurgedNote | null;
  /** Archives whose deletion was begun and not finished. */
  readonly unsettled: readonly string[];
  readonly removals: readonly Removal[];
  /** Records of legal holds that must exist. */
  readonly legal: readonly KnownRecord[];
  /** The time when the thread is started, ms since the epoch. */
  readonly now: number;
  readonly targets: ReadonlyArray<{
    readonly source: PublicSource;
    readonly timeline: number;
    readonly holds: readonly Hold[];
    readonly limit: number;
    /** The database that `timeline` and `limit` refer to; null for our own, which is not replaced while we run. */
    readonly file: FileIdentity | null;
  }>;
}

/** What a run would do with one table. */
export type DryTarget = Omit<RunPlan, 'months' | 'moment' | 'present'> & {
  readonly source: PublicSource;
  readonly reference: number | null;
};

export type RunOutcome =
  | { readonly kind: 'dry'; readonly targets: readonly DryTarget[] }
  | ({ readonly kind: 'run' } & RunResult);

/** From the thread. */
export type FromThread =
  /** Rows of a source and timeline that are missing for an unknown reason. */
  | { readonly baseline: readonly IdRange[]; readonly source: PublicSource; readonly timeline: number }
  | { readonly progress: RunProgress }
  | { readonly purged: PurgedNote }
  /** Answered when it is durable. */
  | { readonly purging: PurgeStep }
  | { readonly settled: string; readonly note: PurgedNote | null }
  | { readonly archived: Archived }
  | { readonly deleted: Purged; readonly source: PublicSource }
  | { readonly anchor: AnchorNote }
  /** Archives past their age: answered with the ones that may be removed. */
  | { readonly expired: readonly ExpiredArchive[]; readonly holds: string | null }
  /** Rows of our own table, which only the main thread writes. */
  | { readonly own: readonly RowToDelete[] }
  | { readonly outcome: RunOutcome }
  | { readonly failed: ErrorParts };

/** To the thread; `stop` is why. */
export type ToThread =
  | { readonly stop: string }
  | { readonly begun: true }
  | { readonly own: Purged }
  | { readonly expire: Removal | null };
