import { readFileSync } from 'node:fs';
import type { AuditEvent } from '../../src/audit/event.js';
import { safeJson } from '../../src/audit/unsafe-characters.js';
import { quote, resourceOf, staticPrefix } from '../../src/formats/ecs.js';

/** Lines as the last release of ECS 8.17 wrote them: one of each event that it knew, then unusual ones, and the last its fallback. */
export const earlierLines: readonly string[] = readFileSync(
  new URL('../data/ecs-8.17-lines.ndjson', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n');

/** The line of an event as the releases of ECS 8.17 wrote it. `earlierLines` prove that it is. */
export function formatEarlierEcs(event: AuditEvent): string {
  const { address: ip, user } = event;
  const head = staticPrefix(event.type);
  const who = user.name ?? user.email;
  const members = (['id', 'name', 'email'] as const)
    .filter((key) => user[key] !== null)
    .map((key) => `"${key}":${quote(user[key] ?? '')}`);
  const related = [
    ...(ip === null ? [] : [`"ip":["${ip}"]`]),
    ...(user.name === null ? [] : [`"user":[${quote(user.name)}]`]),
  ];
  const prefix = head.event.includes('"category"')
    ? head.event
    : head.event.replace('"type":', '"category":[],"type":');
  return (
    `{"@timestamp":"${timeOf(event)}"${prefix}${event.sequence},"id":"${event.id}",` +
    `"ingested":"${new Date(event.ingested).toISOString()}"}${ip === null ? '' : `,"source":{"ip":"${ip}"}`}${head.message}` +
    `${who === null ? '' : head.preposition + quote(who).slice(1, -1)}"` +
    `${members.length === 0 ? '' : `,"user":{${members.join(',')}}`}` +
    `${related.length === 0 ? '' : `,"related":{${related.join(',')}}`},"host":{"name":${quote(event.server)}},` +
    '"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit"},"ecs":{"version":"8.17.0"},' +
    `"postern":{"source":"${event.source}","timeline":${event.timeline}` +
    `${event.revisionOf === null ? '' : `,"revision_of":${event.revisionOf}`}` +
    `${event.incomplete ? `,"incomplete":${quote(event.incomplete)}` : ''},"server":${quote(event.server)},` +
    `"action":${quote(event.rawAction)}${resourceOf(event.resource)}` +
    `${event.rawAddress === null ? '' : `,"address":${quote(event.rawAddress)}`}` +
    `${event.time === null ? `,"time_unreadable":${quote(event.rawTime ?? '')}` : ''}` +
    `${event.details === null ? '' : `,"details":${safeJson(event.details)}`}}}`
  );
}

function timeOf({ time, ingested }: AuditEvent): string {
  if (time !== null) return new Date(time).toISOString();
  return new Date(ingested).toISOString().replace(/\.\d+Z$/, 'Z');
}
