import type { Severity } from '../audit/catalog.js';
import type { AuditEvent } from '../audit/event.js';
import { printableJson } from './escape-unprintable.js';
import { objectOf, stringIn } from './json-members.js';
import { product } from './observer.js';
import { baseEvent, OCSF_VERSION, type OcsfClass, ocsfClasses } from './ocsf-classes.js';
import { formatPlainText } from './plain-text.js';
import { type NamedUser, type TargetUser, targetUser } from './target-user.js';

export interface OcsfOptions {
  /** Sets `metadata.is_truncated` and `unmapped.postern.truncated`. */
  readonly truncated?: boolean;
  /** Omits captions, message and observables, which all follow from the rest. */
  readonly brief?: boolean;
  /** Product version; default: the installed one. */
  readonly version?: string;
}

/** severity_id: 1 informational, 2 low, 3 medium, 4 high, 5 critical. */
const severities: Readonly<Record<Severity, readonly [number, string]>> = {
  alert: [5, 'Critical'],
  critical: [5, 'Critical'],
  error: [4, 'High'],
  warning: [3, 'Medium'],
  notice: [2, 'Low'],
  info: [1, 'Informational'],
};

const outcomes = { unknown: [0, 'Unknown'], success: [1, 'Success'], failure: [2, 'Failure'] } as const;

/** A narrower form of OCSF's email_t. `email_addr` accepts nothing else. */
const emailAddress = /^[\w.+-]{1,64}@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+$/;

interface OcsfUser {
  name?: string;
  uid?: string;
  email_addr?: string;
  full_name?: string;
  type_id?: number;
}

function userOf(event: AuditEvent): OcsfUser | undefined {
  const { id, name, email } = event.user;
  return ocsfUser(id, name, email);
}

function ocsfUser(id: string | null, name: string | null, email: string | null): OcsfUser | undefined {
  const user: OcsfUser = {};
  if (name) user.name = name;
  if (id) user.uid = id;
  if (email) {
    if (!name && !id) user.name = email;
    if (emailAddress.test(email)) user.email_addr = email;
  }
  return user.name === undefined && user.uid === undefined ? undefined : user;
}

function accountOf({ id, name, email, full_name }: NamedUser): OcsfUser | undefined {
  const user = ocsfUser(id ?? null, name ?? null, email ?? null);
  return user === undefined || full_name === undefined ? user : { ...user, full_name };
}

/** `user`: the account as it was; `user_result`: as it is now. */
function accountChange(event: AuditEvent, about: TargetUser | null): Record<string, unknown> {
  const { id } = event.resource;
  const target = about === null ? (id ? { uid: id } : undefined) : accountOf(about.target);
  const isChanged = about !== null && Object.keys(about.changes).length > 0;
  return {
    user: target ?? userOf(event) ?? unknownUser,
    user_result: isChanged ? accountOf({ ...about.target, ...about.changes }) : undefined,
  };
}

/** A token is known by its name, and the category of its events is not what it is. */
function entityOf(event: AuditEvent): object {
  const { type, id } = event.resource;
  if (event.action === 'auth.token_create' || event.action === 'auth.token_delete') {
    const name = stringIn(objectOf(event.details), 'name');
    return { type: 'token', ...(id ? { uid: id } : {}), ...(name ? { name } : id ? {} : { name: 'token' }) };
  }
  const kind = type ?? event.type.category;
  return id ? { type: kind, uid: id } : { type: kind, name: kind };
}

/** As fail2ban/ban-findings.ts makes it. */
const FINDING = /^[0-9a-f]{32}$/;

/** The end of a ban has the id of its beginning, which was written into both rows. A hub's table has those rows too. */
function findingId(event: AuditEvent): string {
  if (event.type.category !== 'ban') return event.id;
  const id = stringIn(objectOf(event.details), 'finding_id');
  return id !== undefined && FINDING.test(id) ? id : event.id;
}

/** `user` is required if it means the target. Without one in the row it has OCSF's own word for "not known". */
const unknownUser: OcsfUser = { name: 'Unknown', type_id: 0 };

/** Close */
const CLOSED = 3;

/** A finding's status is its state of work. */
function statusOf(classUid: number, activityId: number, event: AuditEvent): readonly [number, string] {
  if (classUid !== 2004) return outcomes[event.type.outcome];
  return activityId === CLOSED ? [4, 'Resolved'] : [1, 'New'];
}

/** Required in API Activity. Otherwise only the classes of identity and access have it. */
function hasSource(classUid: number): boolean {
  return classUid === 6003 || Math.floor(classUid / 1_000) === 3;
}

function sourceOf(classUid: number, event: AuditEvent): object | undefined {
  if (!hasSource(classUid)) return undefined;
  if (event.address !== null) return { ip: event.address };
  return classUid === 6003 ? { name: 'Unknown' } : undefined;
}

/** The members that only events of this class have. */
function particulars(classUid: number, event: AuditEvent, about: TargetUser | null): Record<string, unknown> {
  const { type, id } = event.resource;
  const kind = type ?? event.type.category;
  switch (classUid) {
    case 2004:
      return {
        finding_info: { uid: findingId(event), title: event.type.title },
        evidences: event.address === null ? undefined : [{ src_endpoint: { ip: event.address } }],
      };
    case 3001:
      return accountChange(event, about);
    case 3002:
      return {
        user: userOf(event) ?? unknownUser,
        service: { name: 'Postern Proxy' },
        dst_endpoint: { hostname: event.server },
        is_remote: true,
      };
    case 3004:
      return { entity: entityOf(event) };
    case 6002:
      return { app: { vendor_name: product.vendor, name: product.name } };
    case 6003:
      return {
        api: { operation: event.action, service: { name: 'Postern Proxy' } },
        ...(id ? { resources: [{ type: kind, uid: id }] } : {}),
      };
    default:
      return {};
  }
}

/** Where the client address is in an event of this class. */
function addressPath(classUid: number): string {
  if (classUid === 2004) return 'evidences[].src_endpoint.ip';
  return hasSource(classUid) ? 'src_endpoint.ip' : 'unmapped.postern.ip';
}

/** `name` points to the attribute that has the value. */
function observablesOf(
  classUid: number,
  event: AuditEvent,
  about: TargetUser | null,
): readonly object[] | undefined {
  const found: object[] = [];
  const { address, user } = event;
  if (address !== null) {
    found.push({ name: addressPath(classUid), type: 'IP Address', type_id: 2, value: address });
  }
  if (user.name) found.push({ name: 'actor.user.name', type: 'User Name', type_id: 4, value: user.name });
  const target = about?.target.name;
  if (target) found.push({ name: 'user.name', type: 'User Name', type_id: 4, value: target });
  return found.length === 0 ? undefined : found;
}

/** The members without a field in OCSF. `details` is inserted as JSON text. */
function unmapped(classUid: number, event: AuditEvent, truncated: boolean): string {
  const fields = JSON.stringify({
    source: event.source,
    timeline: event.timeline,
    revision_of: event.revisionOf ?? undefined,
    action: event.rawAction,
    category: event.type.category,
    resource: event.resource.type === null && event.resource.id === null ? undefined : event.resource,
    email: event.user.email !== null && !emailAddress.test(event.user.email) ? event.user.email : undefined,
    ip: hasSource(classUid) || classUid === 2004 ? undefined : (event.address ?? undefined),
    address: event.rawAddress ?? undefined,
    time_unknown: event.time === null ? true : undefined,
    truncated: truncated ? true : undefined,
  });
  return event.details === null ? fields : `${fields.slice(0, -1)},"details":${event.details}}`;
}

function actorOf(event: AuditEvent): object | undefined {
  const user = userOf(event);
  if (user !== undefined) return { user };
  return { app_name: event.source === 'auditd' ? product.name : 'Postern Proxy' };
}

/**
 * An event as JSON text of the Open Cybersecurity Schema Framework, with the profile `host`. OCSF requires a time:
 * an event without a readable one has the time of reading, `unmapped.postern.time_unknown`, and the text of the
 * row as `metadata.original_time`.
 */
export function formatOcsf(event: AuditEvent, options: OcsfOptions = {}): string {
  const { brief = false, version = product.version } = options;
  const truncated = options.truncated === true || Boolean(event.incomplete);
  const known: OcsfClass | undefined = ocsfClasses[event.type.ocsf.classUid];
  const classUid = known === undefined ? 0 : event.type.ocsf.classUid;
  const { name, category, activities } = known ?? baseEvent;
  const activityId = event.type.ocsf.activityId in activities ? event.type.ocsf.activityId : 99;
  const activity = activities[activityId] ?? 'Other';
  const [severityId, severity] = severities[event.type.severity];
  const [statusId, status] = statusOf(classUid, activityId, event);
  const about = classUid === 3001 ? targetUser(event) : null;
  const caption = (text: string) => (brief ? undefined : text);
  const json = JSON.stringify({
    time: event.time ?? event.ingested,
    activity_id: activityId,
    activity_name: caption(activityId === 99 ? event.type.title : activity),
    category_uid: Math.floor(classUid / 1_000),
    category_name: caption(category),
    class_uid: classUid,
    class_name: caption(name),
    type_uid: classUid * 100 + activityId,
    type_name: caption(`${name}: ${activity}`),
    severity_id: severityId,
    severity: caption(severity),
    status_id: statusId,
    status: caption(status),
    timezone_offset: 0,
    src_endpoint: sourceOf(classUid, event),
    metadata: {
      version: OCSF_VERSION,
      profiles: ['host'],
      product: { vendor_name: product.vendor, name: product.name, version },
      uid: event.id,
      event_code: event.action,
      sequence: event.sequence,
      log_name: 'audit_log',
      log_provider: event.source,
      logged_time: event.ingested,
      original_time: event.rawTime ?? undefined,
      is_truncated: truncated ? true : undefined,
    },
    message: brief ? undefined : formatPlainText(event),
    actor: actorOf(event),
    device: { hostname: event.server, type_id: 1, type: caption('Server') },
    ...particulars(classUid, event, about),
    observables: brief ? undefined : observablesOf(classUid, event, about),
  });
  return printableJson(
    `${json.slice(0, -1)},"unmapped":{"postern":${unmapped(classUid, event, truncated)}}}`,
  );
}
