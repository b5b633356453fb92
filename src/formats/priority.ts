import type { Severity } from '../audit/catalog.js';

/** Syslog facilities by name, as RFC 5424 table 1 numbers them. */
export const facilities = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  ntp: 12,
  audit: 13,
  alert: 14,
  clock: 15,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
} as const;

export type Facility = keyof typeof facilities;

/** Severities by name, as RFC 5424 table 2 numbers them. */
export const severities: Readonly<Record<Severity, number>> = {
  alert: 1,
  critical: 2,
  error: 3,
  warning: 4,
  notice: 5,
  info: 6,
};

/** The number between the angle brackets, RFC 5424 section 6.2.1. */
export function priority(facility: Facility, severity: Severity): number {
  return facilities[facility] * 8 + severities[severity];
}
