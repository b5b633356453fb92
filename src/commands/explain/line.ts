import { type AuditEvent, publicId } from '../../audit/event.js';
import { messageOf } from '../../errors.js';
import { type BodyFormat, bodies } from '../../formats/body-formats.js';
import { formatEcs } from '../../formats/ecs.js';
import { formatted, lastLine, lastText } from '../../formats/format-fallback.js';
import { escapeUnsafe } from '../support/terminal.js';

/**
 * The event in a format: the files' line, or what syslog says an event in. Where the format can't take the event, that is said on standard error,
 * and it comes as sinks send it then.
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
