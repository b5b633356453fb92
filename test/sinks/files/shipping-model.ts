import type { AuditEvent, SourceName } from '../../../src/audit/event.js';
import type { Corrections, Sink } from '../../../src/sinks/sink.js';
import { deliverEvents } from '../../support/deliver.js';
import { Death, type FaultyDisk } from './faulty-disk.js';
import { failure, NEVER } from './files-fixture.js';

interface Committed {
  readonly cursors: ReadonlyMap<string, number>;
  readonly saved: string | null;
}

/** The same row has the same id in each timeline. */
export function rowId(source: SourceName, sequence: number): string {
  return `${source === 'postern' ? 'a' : 'b'}${sequence.toString(16).padStart(31, '0')}`;
}

const key = (source: SourceName, timeline: number): string => `${source}/${timeline}`;

/**
 * Shipping as a sink sees it (src/shipping/delivery-loop.ts without its threads and files): cursors and note committed together or not
 * at all, pages behind the cursor, found rows left out, open after each throw. Every row is an event, and each new timeline
 * has all rows of the one before.
 */
export class ShippingModel {
  /** Rows that exist, by source. */
  readonly rows: Record<SourceName, number> = { postern: 0, auditd: 0, fleet: 0 };
  timeline = 1;
  /** Rows that were no longer fresh when their delivery was committed: fail2ban may have been spared them. */
  readonly aged = new Set<string>();
  private readonly times = new Map<string, number>();
  private committed: Committed = { cursors: new Map(), saved: null };
  private readonly history: Committed[] = [];
  private sink: Sink | null = null;
  private opened: boolean = false;
  private found = new Map<SourceName, Map<number, string>>();

  constructor(
    private readonly faults: FaultyDisk,
    private readonly makeSink: () => Sink,
    private readonly now: () => number,
    private readonly pad: (sequence: number) => string,
  ) {}

  /** One turn of the loop for a source; `forget`: the process dies between the delivery and its commit. */
  async deliver(source: SourceName, most: number, forget = false): Promise<void> {
    await this.turn(async (sink) => {
      const cursor = this.cursor(source);
      const upTo = Math.min(this.rows[source], cursor + most);
      if (upTo === cursor) return;
      const events = this.wanted(source, cursor, upTo);
      if (events.length === 0) {
        this.commit(source, upTo, null);
        return;
      }
      const result = await deliverEvents(
        sink,
        { source, timeline: this.timelineOf(source), events, upTo },
        NEVER,
      );
      if (forget || this.faults.dead) this.die();
      else this.commit(source, result.upTo, result.saved ?? null);
    });
  }

  async tick(forget = false): Promise<void> {
    await this.turn(async (sink) => {
      const saved = (await sink.tick?.()) ?? null;
      if (forget || this.faults.dead) this.die();
      else if (saved !== null) this.record({ ...this.committed, saved });
    });
  }

  /** kill -9 while nothing happens. */
  die(): void {
    this.sink = null;
    this.opened = false;
    this.found.clear();
    this.faults.restart();
  }

  /** The last commits of state.db may go with the power as well, but for the first: without a note a sink can't know all. */
  losePower(commits: number): void {
    this.die();
    for (let i = 0; i < commits && this.history.at(-1)?.saved; i++) {
      this.committed = this.history.pop() ?? this.committed;
    }
  }

  /** Until nothing is left to deliver. */
  async finish(): Promise<void> {
    for (const source of ['postern', 'auditd'] as const) {
      for (let tries = 0; this.cursorNow(source) < this.rows[source]; tries++) {
        if (tries > 10_000) throw new Error('never comes to an end');
        await this.deliver(source, 50);
      }
    }
  }

  /** After a throw the same sink is opened again; after a death another one. */
  private async turn(act: (sink: Sink) => Promise<void>): Promise<void> {
    this.sink ??= this.makeSink();
    try {
      if (!this.opened) await this.open(this.sink);
      await act(this.sink);
    } catch (error) {
      if (this.faults.dead || error instanceof Death) this.die();
      this.opened = false;
    }
  }

  private async open(sink: Sink): Promise<void> {
    const resume = await sink.open(this.committed.saved);
    if (this.faults.dead) throw new Death('died at open');
    this.settle(resume);
    this.opened = true;
  }

  private settle(resume: Corrections | null): void {
    const cursors = new Map(this.committed.cursors);
    this.found = new Map();
    for (const { source, timeline, upTo, found } of resume?.positions ?? []) {
      const cursor = cursors.get(key(source, timeline)) ?? 0;
      if (upTo < cursor) {
        cursors.set(key(source, timeline), upTo);
        for (let later = timeline + 1; later <= this.timeline; later++) cursors.set(key(source, later), 0);
      } else if (timeline === this.timelineOf(source)) {
        this.found.set(source, new Map(found.filter(([id]) => id > cursor)));
      } else if (upTo > cursor) cursors.set(key(source, timeline), upTo);
    }
    this.record({ cursors, saved: resume?.saved ?? this.committed.saved });
  }

  private wanted(source: SourceName, after: number, upTo: number): AuditEvent[] {
    const events: AuditEvent[] = [];
    for (let sequence = after + 1; sequence <= upTo; sequence++) {
      const id = rowId(source, sequence);
      if (this.found.get(source)?.get(sequence) === id || this.hadEarlier(source, sequence)) continue;
      const details = JSON.stringify({ text: this.pad(sequence) });
      events.push(
        failure(sequence, { source, timeline: this.timelineOf(source), id, details, time: this.timeOf(id) }),
      );
    }
    return events;
  }

  private hadEarlier(source: SourceName, sequence: number): boolean {
    for (let timeline = 1; timeline < this.timelineOf(source); timeline++) {
      if (sequence <= (this.committed.cursors.get(key(source, timeline)) ?? 0)) return true;
    }
    return false;
  }

  /** Our own table is never restored. */
  private timelineOf(source: SourceName): number {
    return source === 'postern' ? this.timeline : 1;
  }

  /** Turning to another timeline, found rows of the old one count as delivered. */
  private cursor(source: SourceName): number {
    return this.committed.cursors.get(key(source, this.timelineOf(source))) ?? 0;
  }

  private cursorNow(source: SourceName): number {
    return this.opened ? this.cursor(source) : -1;
  }

  newTimeline(): void {
    const last = Math.max(0, ...(this.found.get('postern')?.keys() ?? []));
    if (last > 0) this.commit('postern', Math.max(last, this.cursor('postern')), null);
    this.timeline++;
    this.found.delete('postern');
  }

  /** A row's own time is that of its first delivery, and stays. */
  private timeOf(id: string): number {
    const time = this.times.get(id) ?? this.now();
    this.times.set(id, time);
    return time;
  }

  private commit(source: SourceName, upTo: number, saved: string | null): void {
    for (let sequence = this.cursor(source) + 1; sequence <= upTo; sequence++) {
      const id = rowId(source, sequence);
      if (this.now() - this.timeOf(id) > 50_000) this.aged.add(id);
    }
    const cursors = new Map(this.committed.cursors).set(key(source, this.timelineOf(source)), upTo);
    this.record({ cursors, saved: saved ?? this.committed.saved });
  }

  private record(next: Committed): void {
    this.history.push(this.committed);
    this.committed = next;
  }
}
