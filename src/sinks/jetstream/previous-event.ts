import { z } from 'zod';
import type { SourceName } from '../../audit/event.js';

interface Last {
  readonly timeline: number;
  readonly sequence: number;
}

const last = z.object({ timeline: z.int(), sequence: z.int() });
const schema = z.object({ v: z.literal(1), last: z.record(z.string(), last) });

/**
 * The last event acknowledged of each source. Each message names the one before it: when JetStream changes its leader in the
 * middle of a batch, a later message can be stored while an earlier one is lost, and is then sent behind it. The hub puts them in order.
 */
export class PreviousEvent {
  private constructor(private readonly last: Map<string, Last>) {}

  static restore(saved: string | null): PreviousEvent {
    try {
      const parsed = schema.safeParse(JSON.parse(saved ?? ''));
      if (parsed.success) return new PreviousEvent(new Map(Object.entries(parsed.data.last)));
    } catch {
      // no note yet, or none of ours: the next message names none
    }
    return new PreviousEvent(new Map());
  }

  /** Row id of the last event of this timeline; 0 if there is none. */
  before(source: SourceName, timeline: number): number {
    const known = this.last.get(source);
    return known?.timeline === timeline ? known.sequence : 0;
  }

  acknowledged(source: SourceName, timeline: number, sequence: number): void {
    this.last.set(source, { timeline, sequence });
  }

  note(): string {
    return JSON.stringify({ v: 1, last: Object.fromEntries(this.last) });
  }
}
