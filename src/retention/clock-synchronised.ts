import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** Made by systemd-timesyncd when it has set the clock since the start of the machine. */
const TIMESYNC = '/run/systemd/timesync/synchronized';
const TIME_LIMIT_MS = 5_000;

/**
 * Does the kernel say that something keeps the clock right (chrony, ntpd, timesyncd, a hypervisor)? Null where nobody can be asked.
 *
 * The kernel's answer is that of adjtimex(2), which `ProtectClock=` forbids to the unit; systemd-timedated asks it for whoever wants to know.
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

/** Of the start of the machine; null where /proc does not tell (`ProcSubset=pid`) and the unit does not either. */
export function bootId(env: NodeJS.ProcessEnv): string | null {
  const { POSTERN_AUDITD_BOOT: given } = env;
  if (given !== undefined && /^[0-9a-f]{32}$/.test(given)) return given;
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
  } catch {
    return null;
  }
}
