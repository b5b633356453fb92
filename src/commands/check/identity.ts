import { execFileSync } from 'node:child_process';
import { asRoot } from '../../errors.js';
import { atInstance, configOf, instance } from '../../instance.js';
import { asUser, type UserIds } from '../../shipping/as-owner.js';
import type { Finding } from '../../sinks/sink.js';
import { hasDaemonUnit } from './units.js';

/** The daemon of this host, if the checked configuration is its own. */
export interface Host {
  /** The unit exists. */
  readonly installed: boolean;
  /** Null if there is no unit, or if its user is unknown. */
  readonly daemon: UserIds | null;
}

export function hostOf(path: string | null): Host {
  const installed = path === configOf(instance()) && hasDaemonUnit();
  return { installed, daemon: installed ? daemonIdentity() : null };
}

/** Runs `work` with the daemon's rights if this is root, whose own rights prove nothing. */
export function asDaemon<T>({ daemon }: Host, work: () => T): T {
  return daemon === null || daemon.uid === 0 || process.geteuid?.() !== 0 ? work() : asUser(daemon, work);
}

/** A finding that comes only from the caller's missing rights is not a fault of the host: it becomes a warning to run the check as root. */
export function forCaller(
  { installed, daemon }: Host,
  findings: readonly Finding[],
  caller = process.geteuid?.() ?? 0,
): Finding[] {
  const isStranger = installed && caller !== 0 && caller !== daemon?.uid;
  return findings.map(({ access, ...finding }) =>
    access === true && isStranger
      ? {
          level: 'warning',
          what: `not checked, as this user lacks the rights: ${finding.what}`,
          next: `run postern-auditd check ${asRoot()}`,
        }
      : finding,
  );
}

/** As systemd does: the groups of the user and those of the unit. */
function daemonIdentity(): UserIds | null {
  try {
    const show = (name: string) =>
      output('systemctl', ['show', '--value', '-p', name, `postern-auditd${atInstance()}.service`]);
    const user = show('User') || 'root';
    const group = show('Group');
    const ids = output('id', ['-G', user]).split(' ').map(Number);
    const more = show('SupplementaryGroups')
      .split(/\s+/)
      .filter((name) => name !== '');
    const numbered = more.map((name) => groupId(name));
    const gid = group === '' ? Number(output('id', ['-g', user])) : groupId(group);
    return { uid: Number(output('id', ['-u', user])), gid, groups: [...new Set([gid, ...ids, ...numbered])] };
  } catch {
    return null;
  }
}

function groupId(name: string): number {
  return /^\d+$/.test(name) ? Number(name) : Number(output('getent', ['group', name]).split(':')[2]);
}

function output(program: string, args: readonly string[]): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 5_000,
  }).trim();
}
