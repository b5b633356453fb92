import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { type AuditSource, type ReadRequest, type WaitingState, waiting } from '../../src/source/source.js';
import { readBy } from '../support/deliver.js';

const type = createClassifier()('update', 'setting');

export function event(sequence: number): AuditEvent {
  return {
    source: 'postern',
    timeline: 1,
    sequence,
    id: sequence.toString(16).padStart(8, '0').repeat(4),
    time: Date.UTC(2026, 10, 1) + sequence * 1_000,
    rawTime: null,
    ingested: 0,
    type,
    action: type.action,
    rawAction: 'update',
    user: { id: null, name: null, email: null },
    resource: { type: null, id: null },
    address: null,
    rawAddress: null,
    server: 'here',
    local: true,
    revisionOf: null,
    details: null,
  };
}

/** A table in memory, 1 to `rows`. */
export class MemoryTable implements AuditSource {
  readonly name = 'postern';
  /** Why it can't be read; null: it can. */
  waiting: WaitingState | null = null;
  constructor(public rows: number) {}

  read({ after, maxRows, consumer }: Pick<ReadRequest, 'after' | 'maxRows' | 'consumer'>) {
    if (this.waiting !== null) return waiting(this.waiting, this.waiting);
    const upTo = Math.min(this.rows, after + maxRows);
    const events = Array.from({ length: Math.max(0, upTo - after) }, (_, at) => event(after + 1 + at));
    return readBy(consumer, events, {
      state: 'reading',
      postern: 'running',
      upTo,
      more: upTo < this.rows,
      maxId: this.rows,
      markDeleted: false,
    });
  }

  row(id: number) {
    return event(id);
  }

  watch() {
    return { close: () => undefined };
  }
}
