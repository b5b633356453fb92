import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/schema.js';
import { AuditdError, messageOf } from '../errors.js';
import { ROOT } from '../installation.js';
import { reinstall, sentence } from '../next-steps.js';
import { type JailPlace, renderJail } from './render-jail.js';

/** A file below fail2ban's directory of configuration. */
export interface JailFile {
  /** Relative to /etc/fail2ban. */
  readonly path: string;
  readonly text: string;
}

const SHIPPED = [
  'filter.d/posternproxy.conf',
  'action.d/posternproxy-report.conf',
  'action.d/posternproxy-forward.conf',
  'action.d/posternproxy-nftables.conf',
] as const;

/**
 * All that fail2ban needs of us, wherever it runs: the filter, the actions that a jail may use, and the jail for a configuration. Their
 * shell commands are those of POSIX, so busybox runs them too.
 *
 * @throws AuditdError `NOT_INSTALLED`; what `renderJail` throws
 */
export function jailFiles({ fail2ban }: Pick<Config, 'fail2ban'>, place: JailPlace): readonly JailFile[] {
  const shipped = SHIPPED.map((path) => ({ path, text: shippedText(path) }));
  return [...shipped, { path: 'jail.d/posternproxy.conf', text: renderJail(fail2ban, place) }];
}

function shippedText(path: string): string {
  try {
    return readFileSync(join(ROOT, 'fail2ban', path), 'utf8');
  } catch (error) {
    throw new AuditdError('NOT_INSTALLED', `A file of the program can't be read: ${messageOf(error)}`, {
      next: sentence(reinstall()),
      cause: error,
    });
  }
}
