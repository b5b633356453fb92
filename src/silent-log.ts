import type { Logger } from 'pino';

const nothing = (): void => undefined;

/** For what logs in the daemon and is used by a command: keeps nothing. Without pino, which would take a command 20 ms. */
export const SILENT_LOG = {
  level: 'silent',
  fatal: nothing,
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  trace: nothing,
  child: () => SILENT_LOG,
} as unknown as Logger;
