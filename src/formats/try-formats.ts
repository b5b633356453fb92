import type { AuditEvent } from '../audit/event.js';
import { type BodyFormat, bodies } from './body-formats.js';
import { formatFleet } from './fleet-message.js';
import { createOtlpJson } from './otlp-json.js';
import { createOtlpProtobuf } from './otlp-protobuf.js';
import { fitBody } from './shrink-to-size.js';
import { fitsUtf8 } from './utf8.js';

const SMALL = 1_024;

/** The formats in which sinks write events. `fleet`: for the hub. */
export type FormatInUse = BodyFormat | 'fleet' | 'otlp-protobuf' | 'otlp-json';

/** Formats an event as sinks do, in each of their formats: once whole, and once cut to size if it may be too long. */
export function formatOnce(event: AuditEvent, formats: Iterable<FormatInUse>): void {
  for (const format of formats) {
    try {
      if (format === 'fleet') formatFleet(event, event.server, 0, SMALL);
      else if (format === 'otlp-protobuf') createOtlpProtobuf(SMALL).format(event);
      else if (format === 'otlp-json') createOtlpJson(SMALL).format(event);
      else bodyOnce(event, format);
    } catch {
      // The next format is tried anyway.
    }
  }
}

function bodyOnce(event: AuditEvent, format: BodyFormat): void {
  const body = bodies[format];
  if (!fitsUtf8(body.format(event, {}), SMALL)) fitBody(event, SMALL, body, {});
}
