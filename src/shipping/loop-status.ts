import type { RecentVerdict } from '../sinks/files/eligibility-counts.js';
import type { SinkFigures } from '../sinks/sink.js';
import type { LastError, LoopState } from './loop-health.js';
import type { SinkLag } from './sink-positions.js';
import type { HeadStatus } from './table-head.js';

/** What `status` says of a sink. */
export interface LoopStatus extends SinkLag {
  readonly type: string;
  readonly delivery_class: string;
  readonly required: boolean;
  readonly state: LoopState;
  readonly since: number;
  readonly delivered_total: number;
  readonly errors_total: number;
  readonly last_error: LastError | null;
  readonly figures: SinkFigures;
  /** Of a sink without cursors (head-loop.ts): its last read of each source, and its latest decisions. */
  readonly looks?: Readonly<Record<string, HeadStatus>>;
  readonly verdicts?: Readonly<Record<string, RecentVerdict>>;
}
