import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AuditEvent } from '../../audit/event.js';
import { parseFail2banLine } from '../../formats/fail2ban-line.js';
import { OLDEST_MS } from '../../sinks/files/ban-eligibility.js';
import { PAIR } from '../../sinks/files/fail2ban-files.js';
import type { SinkVerdict } from './sink-verdict.js';

/** A failure that came in time is in the pair by then. */
const SETTLED_MS = OLDEST_MS + 10_000;

/**
 * What the pair of files shows about a failed login: `delivered` if it has the line, `withheld` if it lacks it although it goes back to
 * before the failure. Null if the pair can't be read or no longer goes back that far.
 */
export function pairProgress(event: AuditEvent, directory: string, now: number): SinkVerdict['progress'] {
  let oldest = Number.POSITIVE_INFINITY;
  try {
    for (const name of PAIR) {
      for (const text of readFileSync(join(directory, name), 'utf8').split('\n')) {
        const line = parseFail2banLine(text);
        if (line === null) {
          oldest = Math.min(oldest, headerTime(text));
          continue;
        }
        if (isOf(event, line)) return 'delivered';
      }
    }
  } catch {
    return null;
  }
  const { time } = event;
  if (time === null || time > now - SETTLED_MS) return 'waiting';
  return time > oldest ? 'withheld' : null;
}

function isOf(
  { source, sequence, id }: AuditEvent,
  line: Pick<AuditEvent, 'source' | 'sequence' | 'id' | 'revisionOf'>,
) {
  if (line.source === source && line.sequence === sequence && line.id === id) return true;
  return source === 'postern' && line.revisionOf === sequence;
}

/** The time at which a file of the pair was created; its lines are later. */
function headerTime(text: string): number {
  const time = /^\{"@timestamp":"([^"]{24})","log\.level":"info"/.exec(text)?.[1];
  return time === undefined ? Number.POSITIVE_INFINITY : Date.parse(time);
}
