import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, needlessKeys } from '../config/schema.js';
import { renewJail } from '../next-steps.js';
import { PAIR } from '../sinks/files/fail2ban-files.js';
import type { Finding } from '../sinks/sink.js';

const INSTALLED = '/etc/fail2ban';
const USUAL = '/var/log/posternproxy/auth';

/**
 * Reports that nobody is banned because no sink writes the files that fail2ban reads. `sinks` in a configuration replaces all defaults:
 * a configuration with only a collector has removed the sink for fail2ban. Null if there is such a sink, if fail2ban is not installed
 * or if bans are not wanted.
 *
 * @param directory fail2ban's configuration
 */
export function checkSinkConfigured({ sinks, fail2ban }: Config, directory = INSTALLED): Finding | null {
  if (!fail2ban.enabled) return null;
  if (Object.values(sinks).some(({ type }) => type === 'fail2ban') || !existsSync(directory)) return null;
  const files = ['conf', 'local'].map((end) => join(directory, `jail.d/${fail2ban.jail}.${end}`));
  const jails = files.filter((file) => existsSync(file));
  if (jails.length === 0) {
    const what = 'fail2ban is installed, but there is no sink of type fail2ban: nobody is banned';
    return { level: 'warning', what, next: `${lines(null)}\nand ${renewJail()}` };
  }
  const what = `fail2ban has the jail ${fail2ban.jail} (${jails[0]}), but there is no sink of type fail2ban: nobody is banned`;
  return { level: 'error', what, next: lines(pairOf(jails)) };
}

/** What the daemon logs at its start, in one line each. */
export function sinkWarnings(config: Config): string[] {
  const needless = needlessKeys(config.sinks).map(({ key, why }) => `${key} ${why}`);
  const unfed = checkSinkConfigured(config);
  if (unfed === null) return needless;
  const next = unfed.next?.split('\n').map((line) => line.trim());
  return [...needless, `${unfed.what}. ${next?.join(' ')}`];
}

function lines(pair: string | null): string {
  const place = pair === null || pair === USUAL ? '' : `, directory: ${pair}`;
  return `add a sink for bans under sinks in the configuration, as that key replaces all default sinks:\n    auth: { type: fail2ban${place} }`;
}

/** The directory of the files that the jail reads; null if that can't be determined. */
function pairOf(jails: readonly string[]): string | null {
  for (const jail of jails) {
    try {
      const found = /^logpath\s*=\s*(\/\S+)\/([^\s/]+)$/m.exec(readFileSync(jail, 'utf8'));
      if (found?.[1] !== undefined && found[2] === PAIR[0]) return found[1];
    } catch {
      // This user may not read it.
    }
  }
  return null;
}
