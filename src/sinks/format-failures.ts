import type { Logger } from 'pino';
import { type AuditEvent, publicId } from '../audit/event.js';

/** Counts the events that a sink could not format, and logs the first one. */
export class FormatFailures {
  total = 0;

  constructor(
    private readonly log: Logger,
    private readonly format: string,
  ) {}

  readonly note = (event: AuditEvent, error: unknown): void => {
    this.total++;
    if (this.total > 1) return;
    this.log.error(
      { err: error, event: publicId(event) },
      `event ${publicId(event)} cannot be formatted as ${this.format}: it is sent without the texts of its row; later ones are only counted. ` +
        'This is a bug in postern-auditd; please report it with this message',
    );
  };
}
