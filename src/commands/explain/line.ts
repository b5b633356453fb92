import { type AuditEvent, publicId } from '../../audit/event.js';
import { messageOf } from '../../errors.js';
import { type BodyFormat, bodies } from '../../formats/body-formats.js';
import { formatEcs } from '../../formats/ecs.js';
import { formatted, lastLine, lastText } from '../../formats/format-fallback.js';
import { escapeUnsafe } from '../support/terminal.js';

/**
 * The event as a line of the files or a body of syslog. If the format can't express the event, a note goes to standard error and the result
 * is the fallback that sinks send.
 */
export function lineOf(event: AuditEvent, format: BodyFormat): string {
  const body = (given: AuditEvent) => bodies[format].format(given, {});
  return formatted(
    event,
    format === 'ecs' ? formatEcs : body,
    format === 'ecs' ? lastLine : lastText,
    (lost, error) => {
      const why = escapeUnsafe(messageOf(error));
      process.stderr.write(
        `postern-auditd: event ${publicId(lost)} can't be written as ${format}: ${why}. Sinks send it without the texts of its row. ` +
          'This is a bug in postern-auditd; please report it with this message\n',
      );
    },
  );
}
