import { type AuditEvent, copyEvent } from '../audit/event.js';
import type { Body, BodyOptions } from './body-formats.js';
import { shrinkDetails } from './shrink-details.js';
import { cutUtf8, fitsUtf8, utf8Length } from './utf8.js';

/** Longest texts of a row, in bytes. */
const SHORTEST = 24;
const CAPS = [1_024, 256, 64];

/** The event without its details, and with texts of at most this many bytes. */
export function cutTexts(event: AuditEvent, bytes: number): AuditEvent {
  const cut = (text: string) => cutUtf8(text, bytes);
  const cutOrNull = (text: string | null) => (text === null ? null : cutUtf8(text, bytes));
  const { type, user, resource } = event;
  return copyEvent(event, {
    type: {
      ...type,
      action: cut(type.action),
      category: cut(type.category),
      title: cut(type.title),
      cef: { signature: cut(type.cef.signature), name: cut(type.cef.name) },
    },
    action: cut(event.action),
    rawAction: cut(event.rawAction),
    rawTime: cutOrNull(event.rawTime),
    rawAddress: cutOrNull(event.rawAddress),
    server: cut(event.server),
    user: { id: cutOrNull(user.id), name: cutOrNull(user.name), email: cutOrNull(user.email) },
    resource: { type: cutOrNull(resource.type), id: cutOrNull(resource.id) },
    details: null,
  });
}

/** The event with as many details as the body's limit allows; null if omitting all details is not enough. */
function fitDetails(event: AuditEvent, bytes: number, body: Body, options: BodyOptions): string | null {
  if (body.detailsCost === null || event.details === null) return null;
  // `{}` itself costs two bytes in each format.
  const budget = bytes - utf8Length(body.format(copyEvent(event, { details: '{}' }), options)) + 2;
  // A format may repeat names from the details elsewhere, so the first attempt may be too long.
  for (let left = budget, attempt = 1; attempt <= 3; attempt++) {
    const details = left < 2 ? null : shrinkDetails(event.details, left, body.detailsCost);
    const text = body.format(copyEvent(event, { details }), options);
    if (fitsUtf8(text, bytes)) return text;
    left -= utf8Length(text) - bytes;
  }
  return null;
}

/**
 * The event as a body of limited size that is still valid in its format. A body that is too long first loses
 * repetitions, then some details, then all details and the ends of long texts, and finally everything except
 * its identity. A body that has lost a part of the event is marked as truncated.
 *
 * @param bytes limit, at least `LEAST_BODY`
 */
export function fitBody(event: AuditEvent, bytes: number, body: Body, options: BodyOptions): string {
  const brief = { ...options, brief: true };
  const whole = body.format(event, brief);
  if (fitsUtf8(whole, bytes)) return whole;
  const truncated = { ...brief, truncated: true };
  const fitted = fitDetails(event, bytes, body, truncated);
  if (fitted !== null) return fitted;
  const shortest = cutTexts(event, SHORTEST);
  const last = body.format(shortest, truncated);
  if (!fitsUtf8(last, bytes)) return body.least(shortest, bytes, truncated);
  for (const cap of CAPS) {
    const text = body.format(cutTexts(event, cap), truncated);
    if (fitsUtf8(text, bytes)) return text;
  }
  return last;
}
