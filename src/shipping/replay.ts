import type { AuditEvent, SourceName } from '../audit/event.js';
import { AuditdError } from '../errors.js';
import { deliverRows, rowsFor } from '../sinks/deliver-rows.js';
import type { Sink } from '../sinks/sink.js';
import type { AuditSource } from '../source/source.js';

/** Rows of one source to be sent to a sink again. */
export interface ReplayRequest {
  readonly source: SourceName;
  /** Row ids, inclusive; null for the first and the last. */
  readonly fromId: number | null;
  readonly toId: number | null;
  /** Of the events' own time, ms since the epoch: inclusive start, exclusive end. */
  readonly fromTime: number | null;
  readonly toTime: number | null;
  /** Events a second; null sends as fast as the sink takes them. */
  readonly rate: number | null;
}

export interface ReplayStatus {
  readonly state: 'running' | 'done' | 'failed';
  readonly sent: number;
  /** Row id that has been looked at last, and the one it ends with. */
  readonly at: number;
  readonly to: number;
  readonly error: string | null;
}

const SLICE_ROWS = 200;
const SLICE_BYTES = 2 ** 20;

/**
 * Sends rows again, beside new ones and without moving a cursor: one slice after the new rows of each turn, so that it
 * delays them by one slice at most.
 */
export class Replay {
  private next: number;
  private sent = 0;
  private state: ReplayStatus['state'] = 'running';
  private error: string | null = null;
  private readonly last: number;
  private allowance = 0;
  private countedAt = performance.now();

  /** @param timeline for the batches; @param last highest row id there is */
  constructor(
    private readonly source: AuditSource,
    private readonly request: ReplayRequest,
    private readonly timeline: number,
    last: number,
    private readonly wanted: (event: AuditEvent) => boolean,
  ) {
    this.next = (request.fromId ?? 1) - 1;
    this.last = Math.min(request.toId ?? last, last);
    if (this.next >= this.last) this.state = 'done';
  }

  get status(): ReplayStatus {
    const { state, sent, next: at, last: to, error } = this;
    return { state, sent, at: Math.min(at, to), to, error };
  }

  /** One slice; false if there was nothing to do now. A failure of the sink ends the replay and is thrown on. */
  async slice(sink: Sink, signal: AbortSignal): Promise<boolean> {
    if (this.state !== 'running') return false;
    const rows = this.allowed();
    if (rows < 1) return false;
    const { timeline, source } = this;
    const mark = { timeline, id: 0, fingerprint: null };
    const found = source.read({ mark, after: this.next, maxRows: rows, maxBytes: SLICE_BYTES });
    if (found.state !== 'reading')
      return this.fail(found.state === 'replaced' ? found.reason : found.message);
    const events = found.events.filter(
      (event) => event.sequence <= this.last && this.inTime(event) && this.wanted(event),
    );
    try {
      const upTo = await this.deliver(sink, events, signal);
      this.next = upTo ?? (found.events.length === 0 ? this.last : found.upTo);
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
      throw error;
    }
    if (this.next >= this.last) this.state = 'done';
    return true;
  }

  /** Null if all went; else the id of the last row that did. */
  private async deliver(
    sink: Sink,
    events: readonly AuditEvent[],
    signal: AbortSignal,
  ): Promise<number | null> {
    const upTo = events.at(-1)?.sequence;
    if (upTo === undefined) return null;
    const origin = { source: this.source.name, timeline: this.timeline, upTo, replay: true } as const;
    const delivered = await deliverRows(sink, origin, rowsFor(sink, events), signal);
    const went = events.filter((event) => event.sequence <= delivered.upTo).length;
    this.sent += went;
    if (this.request.rate !== null) this.allowance -= went;
    return delivered.upTo >= upTo ? null : delivered.upTo;
  }

  private allowed(): number {
    const { rate } = this.request;
    if (rate === null) return SLICE_ROWS;
    const now = performance.now();
    this.allowance = Math.min(rate, this.allowance + ((now - this.countedAt) / 1_000) * rate);
    this.countedAt = now;
    return Math.min(SLICE_ROWS, Math.floor(this.allowance));
  }

  private inTime({ time }: AuditEvent): boolean {
    const { fromTime, toTime } = this.request;
    if (fromTime === null && toTime === null) return true;
    return time !== null && time >= (fromTime ?? 0) && time < (toTime ?? Number.POSITIVE_INFINITY);
  }

  private fail(error: string): false {
    this.state = 'failed';
    this.error = error;
    return false;
  }
}

/** Checks the body of a request for a replay. @throws AuditdError `USAGE` that names the field */
export function parseReplay(body: unknown): ReplayRequest & { sink: string } {
  const given = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const { sink, source = 'postern' } = given;
  if (typeof sink !== 'string')
    throw new AuditdError('USAGE', 'sink: missing', { next: 'Name the sink that gets the rows again' });
  if (source !== 'postern' && source !== 'auditd')
    throw new AuditdError('USAGE', 'source: invalid', { next: 'Set postern or auditd' });
  const number = (key: string): number | null => {
    const value = given[key] ?? null;
    if (value === null) return null;
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0)
      throw new AuditdError('USAGE', `${key}: invalid`, { next: 'Set a number of at least 0' });
    return value;
  };
  const rate = number('rate');
  if (rate === 0)
    throw new AuditdError('USAGE', 'rate: invalid', { next: 'Set more than 0 events a second' });
  return {
    sink,
    source,
    fromId: number('fromId'),
    toId: number('toId'),
    fromTime: number('fromTime'),
    toTime: number('toTime'),
    rate,
  };
}

/** @throws AuditdError `USAGE` for a kind of sink that must not get old rows again */
export function refuseReplay(sink: string, type: string): void {
  if (type === 'file')
    throw new AuditdError('USAGE', `Sink ${sink} is of type ${type}: its files have each row once`, {
      next: 'Only network sinks are sent rows again',
    });
  if (type === 'webhook')
    throw new AuditdError('USAGE', `Sink ${sink} is of type ${type}: it tells people what happens now`, {
      next: `To see that it works, run: postern-auditd notify test ${sink}`,
    });
}
