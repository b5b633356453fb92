import { type AuditEvent, publicId } from '../audit/event.js';
import { printable } from './escape-unprintable.js';
import { cutUtf8 } from './utf8.js';

/** A name unchanged if it is one plain word, else in quotes, so that no name looks like a part of the sentence. */
function quoted(text: string): string {
  return /^[\p{L}\p{N}._@+-]+$/u.test(text) ? text : JSON.stringify(text);
}

function person(event: AuditEvent): string {
  const { id, name, email } = event.user;
  const user = name ?? email ?? (id === null ? null : `user ${id}`);
  if (user === null || user === '') return '';
  const address = name !== null && email !== null && email !== name ? ` (${quoted(email)})` : '';
  return `${event.type.ecs.category.includes('authentication') ? ' for' : ' by'} ${quoted(user)}${address}`;
}

/** The resource of the event: `proxy_host 12`. */
function object(event: AuditEvent): string {
  const { type, id } = event.resource;
  if (id === null || id === '') return '';
  return `: ${quoted(type ?? event.type.category)} ${quoted(id)}`;
}

/**
 * The event as a plain sentence:
 * `Login failed for jan (jan@example.org) from 203.0.113.7 on pp1 [auth.login_failure, postern:4711]`.
 *
 * @param options `truncated`: adds a mark at the end for a shortened event
 */
export function formatPlainText(event: AuditEvent, options: { readonly truncated?: boolean } = {}): string {
  const from = event.address === null ? '' : ` from ${event.address}`;
  const cut = options.truncated === true ? ', truncated' : '';
  const time = event.time === null ? ', time unknown' : '';
  return printable(
    `${event.type.title}${person(event)}${from} on ${quoted(event.server)}${object(event)} ` +
      `[${quoted(event.action)}, ${publicId(event)}${time}${cut}]`,
  );
}

/** The beginning of the sentence, with the mark at its end. */
export function minimalPlainText(event: AuditEvent, bytes: number): string {
  const mark = `… [${publicId(event)}, truncated]`;
  return cutUtf8(formatPlainText(event), bytes - Buffer.byteLength(mark)) + mark;
}
