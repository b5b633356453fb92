import type { Logger } from 'pino';
import { publicId } from '../audit/event.js';
import type { Messages, Unformatted } from './messages.js';

/** Counts the events that a sink could not format, and logs the first one. */
export class FormatFailures {
  total = 0;

  constructor(
    private readonly log: Logger,
    private readonly format: string,
  ) {}

  /** Called with messages of which the first `count` were delivered. */
  noteIn({ unformatted }: Messages, count: number): void {
    for (const one of unformatted) if (one.at < count) this.note(one);
  }

  note({ event, error }: Pick<Unformatted, 'event' | 'error'>): void {
    this.total++;
    if (this.total > 1) return;
    this.log.error(
      { err: error, event: publicId(event) },
      `event ${publicId(event)} cannot be formatted as ${this.format}: it is sent without the texts of its row; later ones are only counted. ` +
        'This is a bug in postern-auditd; please report it with this message',
    );
  }
}
