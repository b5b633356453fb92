import type { SourceName } from '../audit/event.js';

/** The row that a line of the files is of. */
export interface EcsPosition {
  readonly source: SourceName;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
}

/** All of it is written by the daemon alone. A client's text can only follow. */
const HEAD =
  /^\{"@timestamp":"[^"]{20,30}","log\.level":"[a-z]+","event":\{"action":"[^"\\]+","outcome":"[a-z]+","kind":"[a-z]+",(?:"category":\[[^\]]*\],)?"type":\[[^\]]*\],"sequence":(\d{1,16}),"id":"([0-9a-f]{32})"(?:,"created":"[^"]*","dataset":"postern\.audit","module":"postern")?\}(?:,"source":\{"ip":"[0-9a-f.:]+"\})?,"postern":\{"source":"(postern|auditd|fleet)","timeline":(\d{1,9})[,}]/;

/** The row of a line, parsed from the line itself; null if the line is torn, foreign, or a header. */
export function parseEcsPosition(line: string): EcsPosition | null {
  const head = HEAD.exec(line);
  if (head === null) return parseEarlierEcs(line);
  if (objectIn(line) === null) return null;
  return {
    source: head[3] as SourceName,
    timeline: Number(head[4]),
    sequence: Number(head[1]),
    id: head[2] ?? '',
  };
}

// Releases of ECS 8.17 wrote `event.ingested`, and source and timeline at the end of the line, after texts of clients.
const EARLIER_HEAD =
  /^\{"@timestamp":"[^"]{20,30}","log\.level":"[a-z]+","event":\{"action":"[^"\\]+","outcome":"[a-z]+","kind":"[a-z]+","category":\[[^\]]*\],"type":\[[^\]]*\],"sequence":(\d{1,16}),"id":"([0-9a-f]{32})","ingested":"[^"]*"\},/;

function parseEarlierEcs(line: string): EcsPosition | null {
  const head = EARLIER_HEAD.exec(line);
  const place = head === null ? null : earlierPlace(line);
  if (head === null || place === null) return null;
  return { ...place, sequence: Number(head[1]), id: head[2] ?? '' };
}

/**
 * Source and timeline of a line of ECS 8.17, from the member `postern` of the line itself. A key of that name deeper in the line is
 * another. Null if the line is torn.
 */
export function earlierPlace(line: string): Pick<EcsPosition, 'source' | 'timeline'> | null {
  const postern = objectIn(line)?.postern;
  if (typeof postern !== 'object' || postern === null) return null;
  const { source, timeline } = postern as Readonly<Record<string, unknown>>;
  if (source !== 'postern' && source !== 'auditd' && source !== 'fleet') return null;
  return typeof timeline === 'number' && Number.isSafeInteger(timeline) && timeline >= 0
    ? { source, timeline }
    : null;
}

function objectIn(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.endsWith('}')) return null;
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return null;
  }
}
