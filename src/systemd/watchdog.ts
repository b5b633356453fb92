import type { Logger } from 'pino';
import type { Notifier } from './notify.js';

const STATUS_MS = 10_000;

/**
 * Feeds the watchdog while nothing hangs, and keeps systemd's status line true.
 * A quarter of the watchdog's time leaves room for two missed turns on a busy machine.
 */
export function startHeartbeat(options: {
  readonly notifier: Notifier;
  readonly hung: () => readonly string[];
  readonly statusLine: () => string;
  readonly log: Logger;
}): { beat(): void; stop(): void } {
  const { notifier, hung, statusLine, log } = options;
  let said = '';
  let lastStatus = '';
  const beat = () => {
    const reasons = hung().join('; ');
    if (reasons !== said && reasons !== '') log.error(`watchdog not fed: ${reasons}`);
    said = reasons;
    const lines: Record<string, string> = {};
    if (reasons === '' && notifier.watchdogMs !== null) lines.WATCHDOG = '1';
    const status = reasons === '' ? statusLine() : `hung: ${reasons}`;
    if (status !== lastStatus) lines.STATUS = status;
    lastStatus = status;
    if (Object.keys(lines).length > 0) notifier.notify(lines);
  };
  const timer = setInterval(beat, notifier.watchdogMs === null ? STATUS_MS : notifier.watchdogMs / 4);
  return { beat, stop: () => clearInterval(timer) };
}
