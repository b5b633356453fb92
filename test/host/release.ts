import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { built } from '../support/built.js';
import type { Host } from './host.js';

/**
 * The directory of the release tarball of this tree, to bind into a host. It is packed again (about 40 s) if something has
 * changed since, by one of the test files that request it at the same time. POSTERN_TEST_RELEASE names a directory with another release
 * to test instead.
 */
export function release(): string {
  const given = process.env.POSTERN_TEST_RELEASE;
  if (given !== undefined && given !== '') return resolve(given);
  return built('host-release', 'scripts/package.sh "$1"');
}

/** The directory to which `unpack` extracts it. */
export const UNPACKED = '/root/release';
export const DATABASE = '/var/lib/posternproxy/posternproxy.db';
/** The daemon may look again for this long after a row. */
const LOOKED_MS = 2_500;
/** Rows for postern.py. */
export const FIFO = '/run/posternproxy/record';

/** Extracts the release that is bound as /release. */
export async function unpack(host: Host): Promise<void> {
  await host.exec(`mkdir -p ${UNPACKED} && tar -xf /release/*.tar.gz -C ${UNPACKED} --strip-components=1`);
}

export interface PosternOptions {
  /** User and group of the process; both are created if missing. */
  readonly user?: string;
  readonly group?: string;
  readonly umask?: string;
  readonly directoryMode?: string;
  readonly directory?: string;
  /** True restarts it and leaves its directory unchanged, because a chmod would undo its access list. */
  readonly again?: boolean;
}

/** Starts a stand-in for Postern: its database, held open, and a listener on port 81. */
export async function startPostern(host: Host, options: PosternOptions = {}): Promise<void> {
  const { user = 'posternproxy', group = user, umask = '0027', directoryMode = '750' } = options;
  const directory = options.directory ?? '/var/lib/posternproxy';
  await host.put(join(import.meta.dirname, 'postern.py'), '/usr/local/lib/postern.py');
  await host.exec(
    `getent group ${group} >/dev/null || groupadd --system ${group}
     getent passwd ${user} >/dev/null || useradd --system --gid ${group} ${user}
     ${options.again ? '' : `install -d -o ${user} -g ${group} -m ${directoryMode} ${directory}`}
     systemctl reset-failed posternproxy 2>/dev/null
     systemd-run --quiet --collect --unit=posternproxy -p User=${user} -p Group=${group} -p UMask=${umask} \\
       -p RuntimeDirectory=posternproxy -p AmbientCapabilities=CAP_NET_BIND_SERVICE \\
       python3 /usr/local/lib/postern.py ${directory}/posternproxy.db ${FIFO} 81`,
  );
  await host.waitFor(`test -p ${FIFO} && echo there`, (out) => out.includes('there'));
}

/** Lets Postern record failed logins, each in a separate commit. */
export async function recordFailures(host: Host, ip: string, count = 5, details?: string): Promise<void> {
  await host.exec(`cat >${FIFO}`, { input: `${JSON.stringify({ ip, count, details })}\n` });
}

/** Runs the unpacked install.sh. `said` has all its output, also the messages of failures. */
export async function install(
  host: Host,
  options = '',
  settings: { check?: boolean; from?: string; env?: string; cwd?: string } = {},
): Promise<{ code: number; said: string }> {
  const { from = UNPACKED, env = '', check = true, cwd = '/' } = settings;
  const ran = await host.exec(`cd ${cwd} && env ${env} ${from}/install.sh ${options} 2>&1`, { check });
  return { code: ran.code, said: ran.stdout };
}

/** Every file below the paths with size, mode, owner and time, except those that change all the time. */
export async function snapshot(host: Host, paths: string): Promise<string[]> {
  const { stdout } = await host.exec(
    `find ${paths} -xdev \\( -path /var/log -o -path /var/lib/fail2ban -o -path /var/cache -o -path /var/lib/systemd -o -path /var/lib/apt -o -path /proc -o -path /sys \\
       -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /root -o -path '*/__pycache__' \\) -prune \\
       -o -type d -printf '%p d %m %U:%G %T@\\n' -o -printf '%p %y %s %m %U:%G %T@ %l\\n' | sort`,
  );
  return stdout.trim().split('\n');
}

/**
 * Waits until fail2ban's start has ended, with or without success. "pong" is not enough: the server answers before it has its jails, and
 * prints "Server ready" after them. A unit whose start job is queued is inactive too, so only a unit without a job has stopped.
 */
export async function waitForFail2ban(host: Host): Promise<void> {
  try {
    await host.waitFor(
      `if systemctl list-jobs --no-legend fail2ban.service | grep -q .; then echo queued; exit; fi
       case $(systemctl is-active fail2ban) in inactive | failed) echo stopped; exit ;; esac
       journalctl -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID fail2ban) | grep -x 'Server ready'`,
      (out) => out.includes('Server ready') || out.includes('stopped'),
    );
  } catch (error) {
    throw new Error(await explainFail2ban(host), { cause: error });
  }
}

/** fail2ban's unit, journal and log as text, for the message of a failed assertion. */
async function explainFail2ban(host: Host): Promise<string> {
  const { stdout } = await host.exec(
    `systemctl status --no-pager --full --lines 0 fail2ban; systemctl list-jobs --no-pager; systemctl --failed --no-pager
     fail2ban-client status; df /var/log
     journalctl -b --no-pager -o short-precise -n 60 -u fail2ban -u postern-auditd-logs; tail -n 20 /var/log/fail2ban.log`,
    { check: false },
  );
  return `fail2ban on ${host.name}:\n${stdout}`;
}

/** Fails with fail2ban's unit and journal unless fail2ban runs exactly these jails when its start has ended. */
export async function expectJails(host: Host, expected: readonly string[]): Promise<void> {
  await waitForFail2ban(host);
  const found = await jails(host);
  if (found.join() !== expected.join()) expect(found, await explainFail2ban(host)).toEqual(expected);
}

/** The jails that fail2ban reports, sorted. */
export async function jails(host: Host): Promise<string[]> {
  const { stdout } = await host.exec('fail2ban-client status', { check: false });
  const list = /Jail list:\s*(.*)/.exec(stdout)?.[1] ?? '';
  return list
    .split(',')
    .map((jail) => jail.trim())
    .filter((jail) => jail !== '')
    .sort();
}

/**
 * Postern's last close leaves no file beside the database, and the daemon none of its own. A look that is open at that very
 * moment leaves `-wal` and `-shm` behind (measured: 3 of 450 closes): that may happen once, not 3 times in a row.
 */
export async function expectOnlyDatabase(host: Host, options: PosternOptions = {}): Promise<void> {
  const directory = options.directory ?? dirname(DATABASE);
  const alone = 'posternproxy.db\n';
  let left = '';
  for (let attempt = 1; attempt <= 3; attempt++) {
    await sleep(LOOKED_MS);
    await host.exec('systemctl stop posternproxy');
    left = (await host.exec(`ls -A ${directory}`)).stdout;
    if (left === alone) return;
    if (attempt < 3) await startPostern(host, { ...options, again: true });
  }
  expect(left).toBe(alone);
}
