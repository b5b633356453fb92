import type { Logger } from 'pino';
import { ticker } from '../ticker.js';
import type { Notifier } from './notify.js';

const STATUS_MS = 10_000;

/**
 * Feeds the watchdog while nothing hangs, and keeps systemd's status line up to date.
 * A quarter of the watchdog's timeout allows two missed beats on a busy machine.
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
  const task = ticker.every(notifier.watchdogMs === null ? STATUS_MS : quarterOf(notifier.watchdogMs), beat);
  return { beat, stop: () => task.close() };
}

/** A quarter of the timeout, in whole seconds if longer than one second, so that the process does not wake up for it alone. */
function quarterOf(watchdogMs: number): number {
  const quarter = watchdogMs / 4;
  return quarter < 1_000 ? quarter : Math.floor(quarter / 1_000) * 1_000;
}
