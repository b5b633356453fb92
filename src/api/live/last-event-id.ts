import type { SourceName } from '../../audit/event.js';

/** Up to which row of each source somebody has been told. */
export type LastSeen = Record<SourceName, number>;

/** `postern:4711,auditd:12`, which a client sends back as `Last-Event-ID`. */
export function lastEventId({ postern, auditd }: LastSeen): string {
  return `postern:${postern},auditd:${auditd}`;
}

/** Null if it is none. */
export function parseLastEventId(text: string | undefined): LastSeen | null {
  const [, postern, auditd] = /^postern:(\d{1,15}),auditd:(\d{1,15})$/.exec(text ?? '') ?? [];
  return postern === undefined || auditd === undefined
    ? null
    : { postern: Number(postern), auditd: Number(auditd), fleet: 0 };
}
