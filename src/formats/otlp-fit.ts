import { type AuditEvent, copyEvent } from '../audit/event.js';
import { shrinkDetails } from './shrink-details.js';
import { cutTexts } from './shrink-to-size.js';
import { utf8Length } from './utf8.js';

/** Longest texts of a row, in bytes. */
const CAPS = [1_024, 64];
/** What details cost beside their text. */
const DETAILS_COST = 64;

/**
 * The event as a record of limited size: whole, else with fewer details, else without them and with shorter texts.
 *
 * @param bytes limit; the last form is used even if it is longer
 */
export function fitRecord<T>(
  event: AuditEvent,
  bytes: number,
  encode: (event: AuditEvent, isTruncated: boolean) => T,
  lengthOf: (record: T) => number,
): T {
  const whole = encode(event, false);
  if (lengthOf(whole) <= bytes) return whole;
  const without = encode(copyEvent(event, { details: null }), true);
  const budget = bytes - lengthOf(without) - DETAILS_COST;
  if (event.details !== null && budget > 2) {
    const details = shrinkDetails(event.details, budget, utf8Length);
    const fitted = encode(copyEvent(event, { details }), true);
    if (lengthOf(fitted) <= bytes) return fitted;
  }
  if (lengthOf(without) <= bytes) return without;
  const [first = without, last = first] = CAPS.map((cap) => encode(cutTexts(event, cap), true));
  return lengthOf(first) <= bytes ? first : last;
}
