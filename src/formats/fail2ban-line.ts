import type { AuditEvent, SourceName } from '../audit/event.js';
import { earlierPlace } from './ecs-position.js';
import { IsoTime } from './iso-time.js';

/** Longest line, whatever its row contains. */
export const MAX_FAIL2BAN_LINE = 512;

/** The contents of a failed login's line. */
export interface Fail2banLine {
  readonly source: SourceName;
  readonly timeline: number;
  /** Row id. */
  readonly sequence: number;
  readonly id: string;
  /** The row's own time, milliseconds since the epoch. */
  readonly time: number;
  /** The address to ban, or the network. */
  readonly address: string;
  /** The row of `postern` of which this one is a new version; null for a row that is not a revision. */
  readonly revisionOf: number | null;
}

/** The parts of an event in a line: numbers and a hash. */
export type FailedLogin = Pick<AuditEvent, 'source' | 'timeline' | 'sequence' | 'id' | 'revisionOf'>;

const HEAD = '","log.level":"warn","event":{"action":"auth.login_failure","outcome":"failure","sequence":';

const isoTime = new IsoTime();

/**
 * A failed login as one line for fail2ban, without its newline.
 *
 * It has nothing that a client can write: no name, no details, no text of the row. So a client cannot choose what fail2ban reads,
 * and long rows cannot fill the pair of files. Up to `source.ip` it equals the ECS line, so that a filter of an earlier
 * release finds the address.
 *
 * @param event may have getters, so it is never spread
 * @param time the event's own, milliseconds since the epoch
 * @param address canonical text as from parseAddress, or a network as from networkOf
 */
export function formatFail2banLine(event: FailedLogin, time: number, address: string): string {
  const { source, timeline, sequence, id, revisionOf } = event;
  const revision = revisionOf === null ? '' : `,"revision_of":${revisionOf}`;
  return (
    `{"@timestamp":"${isoTime.milliseconds(time)}${HEAD}${sequence},"id":"${id}"},"source":{"ip":"${address}"},` +
    `"postern":{"source":"${source}","timeline":${timeline}${revision}}}`
  );
}

/** Matches a complete line, from its first character to its last. */
const LINE =
  /^\{"@timestamp":"([\d:.TZ-]{24})","log\.level":"warn","event":\{"action":"auth\.login_failure","outcome":"failure","sequence":(\d{1,20}),"id":"([0-9a-f]{32})"\},"source":\{"ip":"([0-9a-f.:/]{2,43})"\},"postern":\{"source":"(postern|auditd|fleet)","timeline":(\d{1,20})(?:,"revision_of":(\d{1,20}))?\}\}$/;

/** The contents of a line; null if it is torn, foreign, or a header. Lines of earlier releases are parsed too. */
export function parseFail2banLine(text: string): Fail2banLine | null {
  const line = LINE.exec(text);
  if (line === null) return parseEcsLine(text);
  const [, time = '', sequence, id = '', address = '', source, timeline, revisionOf] = line;
  return made({ time, sequence, id, address, source, timeline, revisionOf });
}

// Earlier releases wrote the whole event in ECS 8.17 into the pair. A client's text comes after `source.ip`.
const ECS_HEAD =
  /^\{"@timestamp":"([\d:.TZ-]{24})","log\.level":"[a-z]+","event":\{"action":"auth\.login_failure","outcome":"failure","kind":"event","category":\[[^\]]*\],"type":\[[^\]]*\],"sequence":(\d{1,20}),"id":"([0-9a-f]{32})","ingested":"[^"]*"\},"source":\{"ip":"([0-9a-f.:/]{2,43})"\},/;

function parseEcsLine(text: string): Fail2banLine | null {
  const head = ECS_HEAD.exec(text);
  const place = head === null ? null : earlierPlace(text);
  if (head === null || place === null) return null;
  const [, time = '', sequence, id = '', address = ''] = head;
  const { source, timeline } = place;
  return made({ time, sequence, id, address, source, timeline: String(timeline), revisionOf: undefined });
}

interface Words {
  readonly time: string;
  readonly sequence: string | undefined;
  readonly id: string;
  readonly address: string;
  readonly source: string | undefined;
  readonly timeline: string | undefined;
  readonly revisionOf: string | undefined;
}

function made({ time, sequence, id, address, source, timeline, revisionOf }: Words): Fail2banLine | null {
  const at = Date.parse(time);
  if (Number.isNaN(at)) return null;
  return {
    source: source as SourceName,
    timeline: Number(timeline),
    sequence: Number(sequence),
    id,
    time: at,
    address,
    revisionOf: revisionOf === undefined ? null : Number(revisionOf),
  };
}
