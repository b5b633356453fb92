import type { EventType, Severity } from '../audit/catalog.js';
import { type AuditEvent, publicId } from '../audit/event.js';
import { printable } from './escape-unprintable.js';
import { product } from './observer.js';
import { formatPlainText } from './plain-text.js';
import { targetUser } from './target-user.js';
import { cutEscaped } from './utf8.js';

export interface CefOptions {
  /** Adds `cn3Label=Truncated cn3=1`. */
  readonly truncated?: boolean;
  /** Omits `msg`. */
  readonly brief?: boolean;
  /** Device version in the header; default: the installed one. */
  readonly version?: string;
}

/** ArcSight and Sentinel take 0 to 3 for low, 4 to 6 for medium, 7 and 8 for high, 9 and 10 for very high. */
export const cefSeverities: Readonly<Record<Severity, number>> = {
  alert: 10,
  critical: 9,
  error: 8,
  warning: 6,
  notice: 3,
  info: 2,
};

/** Matches a text that needs no escape in a value. All other texts are examined. */
const plain = /^[ -<>-[\]-~]*$/;

/** A value of the extension: backslash, `=`, CR and LF escaped; other control characters shown as pictures. */
export function escapeCefValue(value: string): string {
  if (plain.test(value)) return value;
  return printable(value.replace(/[\\=]/g, '\\$&').replace(/\r/g, '\\r').replace(/\n/g, '\\n'));
}

/** A field of the header: backslash and pipe are escaped. A header has no escape for line ends. */
export function escapeCefHeader(field: string): string {
  return printable(field).replace(/[\\|]/g, '\\$&');
}

function header(type: EventType, version: string, fieldBytes = Number.POSITIVE_INFINITY): string {
  const signature = cutEscaped(escapeCefHeader(type.cef.signature), fieldBytes);
  const name = cutEscaped(escapeCefHeader(type.cef.name), fieldBytes);
  const device = `${product.vendor}|${product.name}|${escapeCefHeader(version)}`;
  return `CEF:0|${device}|${signature}|${name}|${cefSeverities[type.severity]}|`;
}

/** Header texts by type and version, as the types of the catalog recur. */
const headers = new WeakMap<EventType, { readonly version: string; readonly text: string }>();

function wholeHeader(type: EventType, version: string): string {
  const made = headers.get(type);
  if (made !== undefined && made.version === version) return made.text;
  const text = header(type, version);
  if (type.known) headers.set(type, { version, text });
  return text;
}

function pair(key: string, value: string | null): string {
  return value === null || value === '' ? '' : `${key}=${escapeCefValue(value)} `;
}

function labelled(key: string, label: string, value: string | null): string {
  return value === null || value === '' ? '' : `${key}Label=${label} ${key}=${escapeCefValue(value)} `;
}

/** In CEF:0 `src` accepts only IPv4. For an IPv6 source the dictionary has c6a2 with exactly this label. */
function source(address: string | null): string {
  if (address === null) return '';
  return address.includes(':') ? `c6a2Label=Source IPv6 Address c6a2=${address} ` : `src=${address} `;
}

function user(event: AuditEvent): string {
  const name = event.user.name ?? event.user.email;
  const actor = pair('suid', event.user.id) + pair('suser', name);
  // The user who logs in is both the actor and the account acted on.
  if (event.type.ecs.category.includes('authentication')) return actor + pair('duser', name);
  const about = targetUser(event);
  if (about === null) return actor;
  const { id = null, name: targetName, email = null } = about.target;
  return actor + pair('duser', targetName ?? email) + pair('duid', id);
}

function time(event: AuditEvent): string {
  if (event.time !== null) return `rt=${event.time} `;
  return `deviceCustomDate1Label=Ingested deviceCustomDate1=${event.ingested} ${labelled('flexString2', 'Raw Time', event.rawTime)}`;
}

/**
 * An event in ArcSight's Common Event Format, version 0. Parts that a client can't choose come first. Without a
 * readable time there is no `rt`, and `deviceCustomDate1` is the time of reading.
 */
export function formatCef(event: AuditEvent, options: CefOptions = {}): string {
  const { version = product.version } = options;
  const truncated = options.truncated === true || event.incomplete ? 'cn3Label=Truncated cn3=1 ' : '';
  // Receivers drop trailing spaces of the last value, so the last one is our own.
  return (
    wholeHeader(event.type, version) +
    time(event) +
    source(event.address) +
    `outcome=${event.type.outcome} ` +
    pair('act', event.action) +
    pair('cat', event.type.category) +
    pair('dvchost', event.server) +
    `cn1Label=Sequence cn1=${event.sequence} cn2Label=Timeline cn2=${event.timeline} ${truncated}` +
    (event.revisionOf === null ? '' : `flexNumber1Label=Revision of flexNumber1=${event.revisionOf} `) +
    user(event) +
    labelled('cs1', 'Resource Type', event.resource.type) +
    labelled('cs2', 'Resource ID', event.resource.id) +
    labelled('cs3', 'User Email', event.user.email) +
    labelled('cs4', 'Details', event.details) +
    labelled('cs5', 'Raw Action', event.rawAction) +
    labelled('flexString1', 'Raw Address', event.rawAddress) +
    (options.brief === true ? '' : pair('msg', formatPlainText(event))) +
    `cs6Label=Entry cs6=${publicId(event)} externalId=${event.id}`
  );
}

/** The header and the identity of the event, in at most 256 bytes. */
export function minimalCef(event: AuditEvent, options: CefOptions = {}): string {
  const { version = product.version } = options;
  return `${header(event.type, version, 40)}cn3Label=Truncated cn3=1 externalId=${event.id}`;
}
