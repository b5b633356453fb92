import type { EventType, Severity } from '../audit/catalog.js';
import type { AuditEvent, SourceName } from '../audit/event.js';

/** Elastic Common Schema that the field names follow. */
export const ECS_VERSION = '8.17.0';

export interface EcsOptions {
  /** What stands as `source.ip` instead of the event's address: the network of an IPv6 attacker, for fail2ban. */
  readonly sourceIp?: string;
}

const LOG_LEVELS: Readonly<Record<Severity, string>> = {
  alert: 'alert',
  critical: 'critical',
  error: 'error',
  warning: 'warn',
  notice: 'notice',
  info: 'info',
};

// JSON.stringify leaves these as they are: DEL, C1 (with NEL), soft hyphen, Arabic letter mark, zero-width and bidi controls, line and
// paragraph separators, the byte order mark. Each of them has split a line or turned one round somewhere.
const RARE = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const EVERY_RARE = new RegExp(RARE.source, 'g');

const heads = new WeakMap<EventType, readonly [string, string]>();

/**
 * An event as one line of JSON in Elastic Common Schema, without its newline.
 *
 * The key order is fixed. Everything up to and including `source.ip` is written by this daemon alone (times, catalog names,
 * numbers, hexadecimal digits, a parsed address); what a client can influence stands behind it. Without an
 * address there is no `source`. An event whose own time can't be read has the time of reading as `@timestamp`, and
 * says so in `postern.time_unreadable`; it is never given to fail2ban (sinks/freshness.ts).
 */
export function formatEcs(event: AuditEvent, options?: EcsOptions): string {
  const ip = options?.sourceIp ?? event.address;
  const [head, middle] = headOf(event.type);
  const trusted =
    `{"@timestamp":"${ownTime.text(event.time ?? event.ingested)}"${head}${event.sequence},"id":"${event.id}",` +
    `"ingested":"${readTime.text(event.ingested)}"}${ip === null ? '' : `,"source":{"ip":"${ip}"}`}`;
  const free = middle + userPart(event) + relatedPart(event, ip) + hostPart(event) + posternPart(event);
  return trusted + (RARE.test(free) ? free.replace(EVERY_RARE, escape) : free);
}

/** What depends on the type alone: from `log.level` to before the sequence, and the message. */
function headOf(type: EventType): readonly [string, string] {
  const known = heads.get(type);
  if (known !== undefined) return known;
  const head =
    `,"log.level":"${LOG_LEVELS[type.severity]}","event":{"action":${JSON.stringify(type.action)},"outcome":"${type.outcome}",` +
    `"kind":"event","category":${JSON.stringify(type.ecs.category)},"type":${JSON.stringify(type.ecs.type)},"sequence":`;
  const made = [head, `,"message":${JSON.stringify(type.title).slice(0, -1)}`] as const;
  heads.set(type, made);
  return made;
}

/** Ends the message (the title, and by whom) and adds `user`. */
function userPart({ user }: AuditEvent): string {
  const who = user.name ?? user.email;
  let text = who === null ? '"' : `: ${JSON.stringify(who).slice(1)}`;
  if (user.id === null && user.name === null && user.email === null) return text;
  let separator = '';
  text += ',"user":{';
  if (user.id !== null) {
    text += `"id":${JSON.stringify(user.id)}`;
    separator = ',';
  }
  if (user.name !== null) {
    text += `${separator}"name":${JSON.stringify(user.name)}`;
    separator = ',';
  }
  if (user.email !== null) text += `${separator}"email":${JSON.stringify(user.email)}`;
  return `${text}}`;
}

function relatedPart({ user }: AuditEvent, ip: string | null): string {
  const address = ip === null || ip.includes('/') ? '' : `"ip":["${ip}"]`;
  const names = user.name === null ? '' : `"user":[${JSON.stringify(user.name)}]`;
  if (address === '' && names === '') return '';
  return `,"related":{${address}${address !== '' && names !== '' ? ',' : ''}${names}}`;
}

function hostPart({ server }: AuditEvent): string {
  return (
    `,"host":{"name":${JSON.stringify(server)}},"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit"},` +
    `"ecs":{"version":"${ECS_VERSION}"}`
  );
}

function posternPart(event: AuditEvent): string {
  const { resource } = event;
  let text =
    `,"postern":{"source":"${event.source}","timeline":${event.timeline},"server":${JSON.stringify(event.server)},` +
    `"action":${JSON.stringify(event.rawAction)}`;
  if (resource.type !== null || resource.id !== null) {
    const type = resource.type === null ? '' : `"type":${JSON.stringify(resource.type)}`;
    const id = resource.id === null ? '' : `"id":${JSON.stringify(resource.id)}`;
    text += `,"resource":{${type}${type !== '' && id !== '' ? ',' : ''}${id}}`;
  }
  if (event.rawAddress !== null) text += `,"address":${JSON.stringify(event.rawAddress)}`;
  if (event.time === null) text += `,"time_unreadable":${JSON.stringify(event.rawTime ?? '')}`;
  if (event.details !== null) text += `,"details":${event.details}`;
  return `${text}}}`;
}

/** ISO 8601 with milliseconds, UTC. Neighbours share their second, so it is made once. */
class Stamp {
  private time = Number.NaN;
  private whole = '';
  private second = Number.NaN;
  private upToSecond = '';

  text(time: number): string {
    if (time === this.time) return this.whole;
    const second = Math.floor(time / 1_000);
    if (second !== this.second) {
      this.second = second;
      this.upToSecond = new Date(second * 1_000).toISOString().slice(0, -4);
    }
    const milliseconds = time - second * 1_000;
    this.time = time;
    this.whole = `${this.upToSecond}${milliseconds < 10 ? '00' : milliseconds < 100 ? '0' : ''}${milliseconds}Z`;
    return this.whole;
  }
}

const ownTime = new Stamp();
const readTime = new Stamp();

function escape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

export interface EcsPosition {
  readonly source: SourceName;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
}

const HEAD =
  /^\{"@timestamp":"[^"]{20,30}","log\.level":"[a-z]+","event":\{"action":"[^"\\]+","outcome":"[a-z]+","kind":"event","category":\[[^\]]*\],"type":\[[^\]]*\],"sequence":(\d{1,16}),"id":"([0-9a-f]{32})",/;
const PLACE = /"ecs":\{"version":"[0-9.]+"\},"postern":\{"source":"(postern|auditd)","timeline":(\d{1,9}),/;

/**
 * Which row a line is of, read back from the line itself; null if it is torn, foreign, or a header.
 *
 * The place is looked for behind `"ecs":{…}`: text of a client can contain it only with its quotes escaped.
 */
export function parseEcsPosition(text: string): EcsPosition | null {
  const head = HEAD.exec(text);
  const place = PLACE.exec(text);
  if (head === null || place === null || !text.endsWith('}}') || !isJson(text)) return null;
  return {
    source: place[1] === 'auditd' ? 'auditd' : 'postern',
    timeline: Number(place[2]),
    sequence: Number(head[1]),
    id: head[2] ?? '',
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
