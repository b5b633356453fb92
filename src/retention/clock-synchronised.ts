import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** Created by systemd-timesyncd when it has set the clock since boot. */
const TIMESYNC = '/run/systemd/timesync/synchronized';
const TIME_LIMIT_MS = 5_000;

/**
 * Whether the kernel reports a synchronised clock (by chrony, ntpd, timesyncd or a hypervisor). Null if unknown.
 *
 * The kernel reports it by adjtimex(2), which `ProtectClock=` forbids in the unit; systemd-timedated passes the answer on.
 */
export async function isClockSynchronised(): Promise<boolean | null> {
  const said = await askTimedated();
  if (said !== null) return said;
  return existsSync(TIMESYNC) ? true : null;
}

function askTimedated(): Promise<boolean | null> {
  return new Promise((resolve) => {
    execFile(
      'timedatectl',
      ['show', '--property=NTPSynchronized', '--value'],
      { timeout: TIME_LIMIT_MS, env: { ...process.env, LC_ALL: 'C' } },
      (error, stdout) => {
        const word = stdout.trim();
        resolve(error === null && (word === 'yes' || word === 'no') ? word === 'yes' : null);
      },
    );
  });
}

/** Id of the boot; null if neither /proc (`ProcSubset=pid`) nor the unit gives it. */
export function bootId(env: NodeJS.ProcessEnv): string | null {
  const { POSTERN_AUDITD_BOOT: given } = env;
  if (given !== undefined && /^[0-9a-f]{32}$/.test(given)) return given;
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
  } catch {
    return null;
  }
}
