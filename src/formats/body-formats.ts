import type { AuditEvent } from '../audit/event.js';
import { escapeCefValue, formatCef, minimalCef } from './cef.js';
import { formatEcs } from './ecs.js';
import { writeEcs } from './ecs-writer.js';
import { printableJson } from './escape-unprintable.js';
import { escapeLeefValue, formatLeef, minimalLeef } from './leef.js';
import { type MemberPath, minimalJson } from './minimal-json.js';
import { formatOcsf } from './ocsf.js';
import { formatPlainText, minimalPlainText } from './plain-text.js';
import { utf8Length } from './utf8.js';

export type BodyFormat = 'ecs' | 'cef' | 'leef' | 'ocsf' | 'text';

export interface BodyOptions {
  /** Whether the event was shortened, which the body marks in its own way. */
  readonly truncated?: boolean;
  /** Omits repetitions: sentence, captions, observables. */
  readonly brief?: boolean;
  /** Version of the product in the body; default: the installed one. */
  readonly version?: string;
}

/** The part of a message inside its envelope. */
export interface Body {
  /** One line without control characters. */
  readonly format: (event: AuditEvent, options: BodyOptions) => string;
  /** Writes the result of `format` without options into memory, if it can. See Formatter.write (syslog-message.ts). */
  readonly write?: (event: AuditEvent, into: Buffer, start: number) => number;
  /** Bytes that details occupy in the body; null if it has none. */
  readonly detailsCost: ((json: string) => number) | null;
  /** As much as fits, valid in the format and marked as truncated. `LEAST_BODY` bytes are enough. */
  readonly least: (event: AuditEvent, bytes: number, options: BodyOptions) => string;
}

/** Bytes that `least` may always use. */
export const LEAST_BODY = 256;

function jsonCost(json: string): number {
  return utf8Length(printableJson(json));
}

const minimalEcs: readonly MemberPath[] = [
  ['event', 'id'],
  ['event', 'action'],
  ['event', 'outcome'],
  ['event', 'sequence'],
  ['@timestamp'],
  ['source', 'ip'],
  ['user', 'name'],
  ['host', 'name'],
  ['log.level'],
];

const minimalOcsf: readonly MemberPath[] = [
  ['time'],
  ['metadata', 'uid'],
  ['class_uid'],
  ['activity_id'],
  ['type_uid'],
  ['category_uid'],
  ['severity_id'],
  ['status_id'],
  ['metadata', 'version'],
  ['metadata', 'sequence'],
  ['src_endpoint', 'ip'],
  ['device', 'hostname'],
];

function formatEcsBody(event: AuditEvent, options: BodyOptions): string {
  return printableJson(formatEcs(event, options));
}

export const bodies: Readonly<Record<BodyFormat, Body>> = {
  ecs: {
    format: formatEcsBody,
    write: writeEcs,
    detailsCost: jsonCost,
    least: (event, bytes) =>
      minimalJson(formatEcs(event), bytes, minimalEcs, { postern: { truncated: true } }),
  },
  ocsf: {
    format: formatOcsf,
    detailsCost: jsonCost,
    least: (event, bytes) =>
      minimalJson(formatOcsf(event, { brief: true }), bytes, minimalOcsf, {
        unmapped: { postern: { truncated: true } },
      }),
  },
  cef: {
    format: formatCef,
    detailsCost: (json) => utf8Length(escapeCefValue(json)),
    least: (event, _bytes, options) => minimalCef(event, options),
  },
  leef: {
    format: formatLeef,
    detailsCost: (json) => utf8Length(escapeLeefValue(json)),
    least: (event, _bytes, options) => minimalLeef(event, options),
  },
  text: {
    format: formatPlainText,
    detailsCost: null,
    least: minimalPlainText,
  },
};
