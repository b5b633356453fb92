import type { Severity } from '../audit/catalog.js';
import type { AuditEvent } from '../audit/event.js';
import { printableJson } from './escape-unprintable.js';
import { product } from './observer.js';
import { baseEvent, OCSF_VERSION, type OcsfClass, ocsfClasses } from './ocsf-classes.js';
import { formatPlainText } from './plain-text.js';

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
  type_id?: number;
}

function userOf(event: AuditEvent): OcsfUser | undefined {
  const { id, name, email } = event.user;
  const user: OcsfUser = {};
  if (name) user.name = name;
  if (id) user.uid = id;
  if (email) {
    if (!name && !id) user.name = email;
    if (emailAddress.test(email)) user.email_addr = email;
  }
  return user.name === undefined && user.uid === undefined ? undefined : user;
}

/** `user` is required if it means the target. Without one in the row it has OCSF's own word for "not known". */
const unknownUser: OcsfUser = { name: 'Unknown', type_id: 0 };

/** Required in API Activity. Otherwise only the classes of identity and access have it. */
function sourceOf(classUid: number, event: AuditEvent): object | undefined {
  if (classUid !== 6003 && Math.floor(classUid / 1_000) !== 3) return undefined;
  if (event.address !== null) return { ip: event.address };
  return classUid === 6003 ? { name: 'Unknown' } : undefined;
}

/** The members that only events of this class have. */
function particulars(classUid: number, event: AuditEvent): Record<string, unknown> {
  const { type, id } = event.resource;
  const kind = type ?? event.type.category;
  switch (classUid) {
    case 2004:
      return {
        finding_info: { uid: event.id, title: event.type.title },
        evidences: event.address === null ? undefined : [{ src_endpoint: { ip: event.address } }],
      };
    case 3001:
      return { user: id ? { uid: id } : (userOf(event) ?? unknownUser) };
    case 3002:
      return {
        user: userOf(event) ?? unknownUser,
        service: { name: 'Postern Proxy' },
        dst_endpoint: { hostname: event.server },
        is_remote: true,
      };
    case 3004:
      return { entity: id ? { type: kind, uid: id } : { type: kind, name: kind } };
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

function observablesOf(event: AuditEvent): readonly object[] | undefined {
  const found: object[] = [];
  if (event.address !== null) found.push({ type: 'IP Address', type_id: 2, value: event.address });
  if (event.user.name) found.push({ type: 'User Name', type_id: 4, value: event.user.name });
  return found.length === 0 ? undefined : found;
}

/** The members without a field in OCSF. `details` is inserted as JSON text. */
function unmapped(event: AuditEvent, truncated: boolean): string {
  const fields = JSON.stringify({
    source: event.source,
    timeline: event.timeline,
    revision_of: event.revisionOf ?? undefined,
    action: event.rawAction,
    category: event.type.category,
    resource: event.resource.type === null && event.resource.id === null ? undefined : event.resource,
    email: event.user.email !== null && !emailAddress.test(event.user.email) ? event.user.email : undefined,
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
  // A finding's status is its state of work.
  const [statusId, status] = classUid === 2004 ? ([1, 'New'] as const) : outcomes[event.type.outcome];
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
    ...particulars(classUid, event),
    observables: brief ? undefined : observablesOf(event),
  });
  return printableJson(`${json.slice(0, -1)},"unmapped":{"postern":${unmapped(event, truncated)}}}`);
}
