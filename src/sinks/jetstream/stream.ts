import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { SUBJECT_PREFIX } from '../../formats/fleet-message.js';

/** The settings of the stream that `fleet init` takes. */
export interface StreamWishes {
  /** Copies of each message; null: 3 where the cluster has so many servers, else 1. */
  readonly replicas: number | null;
  /** Milliseconds after which a message goes; 0: never. */
  readonly maxAge: number;
  /**
   * Messages in the stream; -1: no limit. When there are so many, publishers wait. There is no limit in bytes: with one, nats-server 2.9.10
   * drops the oldest messages though it is configured to reject new ones (measured: 29 of 461), as it leaves its own overhead out of the sum.
   */
  readonly maxMessages: number;
  /** Milliseconds over which the stream knows a message id again. */
  readonly duplicates: number;
}

export const STREAM_DEFAULTS: StreamWishes = {
  replicas: null,
  maxAge: 30 * 86_400_000,
  maxMessages: -1,
  duplicates: 600_000,
};

const NANOSECONDS = 1_000_000;

/** A setting of the stream that differs. `grave`: events can be lost because of it. The keys are those of `fleet init --json`. */
export interface Difference {
  readonly setting: string;
  readonly found: string;
  readonly wished: string;
  readonly grave: boolean;
  /** What brings it about, with NATS's own tool; null where it can't be changed any more. */
  readonly command: string | null;
}

/** The stream as `fleet init` makes it: append-only, refusing what is new when it is full, so that publishers wait and nothing is lost. */
export function streamConfig(
  name: string,
  wishes: StreamWishes,
  servers: number,
): Partial<StreamConfig> & { name: string } {
  return {
    name,
    description: "Audit events of Postern's fleet",
    subjects: [`${SUBJECT_PREFIX}.>`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    num_replicas: wishes.replicas ?? (servers >= 3 ? 3 : 1),
    max_age: wishes.maxAge * NANOSECONDS,
    max_msgs: wishes.maxMessages,
    max_bytes: -1,
    duplicate_window: wishes.duplicates * NANOSECONDS,
    deny_delete: true,
    deny_purge: true,
    allow_direct: false,
  };
}

/** The differences between the existing stream and the expected one. */
export function streamDifferences(found: StreamConfig, wished: Partial<StreamConfig>): Difference[] {
  const edit = (option: string) => `nats stream edit ${found.name} ${option}`;
  const list: Difference[] = [];
  const compare = (
    setting: keyof StreamConfig,
    grave: boolean,
    command: string | null,
    show: (value: unknown) => string = String,
  ) => {
    const [is, should] = [found[setting], wished[setting]];
    if (should === undefined || JSON.stringify(is) === JSON.stringify(should)) return;
    list.push({ setting, found: show(is), wished: show(should), grave, command });
  };
  const seconds = (value: unknown) => `${Number(value) / 1e9} s`;
  compare('subjects', true, edit(`--subjects '${SUBJECT_PREFIX}.>'`));
  compare('retention', true, null);
  compare('storage', true, null);
  compare('discard', true, edit('--discard=new'));
  compare('num_replicas', false, edit(`--replicas=${wished.num_replicas}`));
  compare('max_age', false, edit(`--max-age=${seconds(wished.max_age).replace(' ', '')}`), seconds);
  compare('max_msgs', false, edit(`--max-msgs=${wished.max_msgs}`));
  compare('max_bytes', true, edit('--max-bytes=-1'));
  compare(
    'duplicate_window',
    false,
    edit(`--dupe-window=${seconds(wished.duplicate_window).replace(' ', '')}`),
    seconds,
  );
  compare('deny_delete', false, null);
  compare('deny_purge', false, null);
  return list;
}

/** The stream, or null if it is not there. */
export async function findStream(manager: JetStreamManager, name: string): Promise<StreamInfo | null> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return null;
    throw error;
  }
}
