import { type Front, front } from './front.js';
import { atInstance, instance } from './instance.js';

/*
 * The next steps in messages that depend on how the program came to this host. All are in the imperative and begin in lower case;
 * `sentence` begins one.
 */

/** Options of install.sh and `postern-auditd setup`. */
type SetupOption = '--fail2ban' | '--remove-jail' | '--reconfigure';

/** What writes identity, drop-ins and jail of this host; null in a container, whose engine gives it what it may see. */
export function setupCommand(option: SetupOption = '--reconfigure', how: Front = front()): string | null {
  if (how === 'container') return null;
  const name = instance();
  const words = [
    ...(how === 'debian' ? ['postern-auditd setup'] : ['install.sh']),
    ...(how === 'debian' && option === '--reconfigure' ? [] : [option]),
    ...(name === null ? [] : [`--instance ${name}`]),
  ];
  return words.join(' ');
}

/** After a change of what the setup depends on: units, directories, the jail. */
export function setUpAgain(how: Front = front()): string {
  const command = setupCommand('--reconfigure', how);
  return command === null ? 'create the container again' : `run ${command}`;
}

/** After a change of the jail, or if a file of ours in /etc/fail2ban is missing or another. */
export function renewJail(how: Front = front()): string {
  const command = setupCommand('--reconfigure', how);
  return command === null
    ? "unpack postern-auditd jail --tar in fail2ban's directory again, as docs/guide/INSTALL.md describes"
    : `run ${command}`;
}

/** Turns bans on. */
export function wantBans(how: Front = front()): string {
  const command = setupCommand('--fail2ban', how);
  return command === null ? 'set fail2ban.enabled to true' : `run ${command}`;
}

/** Turns bans off, or on, where a jail is left without the other. */
export function removeOrWantBans(how: Front = front()): string {
  const [remove, want] = [setupCommand('--remove-jail', how), setupCommand('--fail2ban', how)];
  return remove === null
    ? 'remove it where fail2ban runs, or set fail2ban.enabled to true'
    : `remove it with ${remove}, or enable it with ${want}`;
}

/**
 * For what the daemon must read and may not.
 *
 * @param path a file, or its directory
 * @param which what the setup does about it: `chooses the user …`
 */
export function allowReading(path: string, which: string, how: Front = front()): string {
  const command = setupCommand('--reconfigure', how);
  return command === null
    ? `give the container the user or group that may read it (user, group_add): stat -c '%u:%g %a' ${path} prints them`
    : `run ${command}, which ${which}`;
}

/** For a directory in which the daemon must write and may not. */
export function allowWriting(path: string, how: Front = front()): string {
  switch (how) {
    case 'container': {
      const user = `${process.getuid?.() ?? '?'}:${process.getgid?.() ?? '?'}`;
      return `mount a directory there that the container's user may write: chown ${user} its place on the host`;
    }
    case 'debian':
      return `chown or chmod ${path}, or ${setUpAgain(how)}`;
    default:
      return `chown or chmod ${path}, or run install.sh again`;
  }
}

/** So that all parts are of one version. */
export function reinstall(how: Front = front()): string {
  switch (how) {
    case 'container':
      return 'start the container from the image again';
    case 'debian':
      return 'run apt-get install --reinstall postern-auditd';
    default:
      return 'run install.sh';
  }
}

/** For a fail2ban that is not there. */
export function installFail2ban(how: Front = front()): string {
  switch (how) {
    case 'container':
      return 'ask it where it runs, on the host or in its own container: fail2ban-client status';
    case 'debian':
      return 'run apt-get install fail2ban, then postern-auditd setup';
    default:
      return 'run install.sh without --no-fail2ban, or: apt-get install fail2ban';
  }
}

/** A command about the daemon itself. */
export function daemonCommand(
  verb: 'start' | 'stop' | 'restart' | 'reload' | 'status',
  how: Front = front(),
): string {
  if (how !== 'container') return `systemctl ${verb} postern-auditd${atInstance()}`;
  if (verb === 'reload') return 'postern-auditd reload';
  return verb === 'status' ? 'docker compose ps postern-auditd' : `docker compose ${verb} postern-auditd`;
}

/** Makes the pair of log files as fail2ban needs them, while the daemon does not run too. */
export function makeLogFiles(how: Front = front()): string {
  return how === 'container'
    ? daemonCommand('restart', how)
    : `systemctl start postern-auditd-logs${atInstance()}`;
}

/** Prints the messages of the daemon. */
export function daemonLog(how: Front = front()): string {
  return how === 'container'
    ? 'docker compose logs postern-auditd'
    : `journalctl -u postern-auditd${atInstance()}`;
}

/** With a capital letter. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
