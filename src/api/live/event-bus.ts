import type { AuditEvent } from '../../audit/event.js';

/** Hands what is read from the tables to those who look on. */
export class Live {
  private readonly listeners = new Set<(event: AuditEvent) => void>();

  publish(events: readonly AuditEvent[]): void {
    if (this.listeners.size === 0) return;
    for (const event of events) for (const listener of this.listeners) listener(event);
  }

  /** @param listener is quick and does not throw; @returns the end of it */
  subscribe(listener: (event: AuditEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
