import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const SHIPPED = resolve(import.meta.dirname, '../../fail2ban');

/** True where fail2ban is installed. */
export function hasFail2ban(): boolean {
  return spawnSync('fail2ban-client', ['--version']).status === 0;
}

/**
 * The real fail2ban with a socket, a configuration and a jail `posternproxy` of its own, which bans by doing nothing. `path` is a PATH
 * in which fail2ban-client speaks to it.
 */
export class PrivateFail2ban {
  readonly directory = mkdtempSync(join(tmpdir(), 'postern-fail2ban-'));
  readonly path: string;
  readonly authDirectory = join(this.directory, 'auth');

  /**
   * @param bans where it reports its bans; null: nowhere
   * @param within words before each command, such as those that run it in a namespace
   */
  constructor(bans: string | null = null, within = '') {
    const { directory } = this;
    for (const name of ['bin', 'auth', 'etc/filter.d', 'etc/action.d']) {
      mkdirSync(join(directory, name), { recursive: true });
    }
    const client = execFileSync('/bin/sh', ['-c', 'command -v fail2ban-client'], { encoding: 'utf8' }).trim();
    const options = `-c ${directory}/etc -s ${directory}/socket -p ${directory}/pid`;
    writeFileSync(
      join(directory, 'bin/fail2ban-client'),
      `#!/bin/sh\nexec ${within} ${client} ${options} "$@"\n`,
    );
    chmodSync(join(directory, 'bin/fail2ban-client'), 0o755);
    this.path = `${directory}/bin:${process.env.PATH}`;
    const etc = (name: string, text: string) => writeFileSync(join(directory, 'etc', name), text);
    etc(
      'fail2ban.conf',
      `[Definition]\nloglevel = INFO\nlogtarget = ${directory}/log\nsyslogsocket = auto\nsocket = ${directory}/socket\npidfile = ${directory}/pid\ndbfile = None\ndbpurgeage = 1d\n`,
    );
    etc('action.d/nothing.conf', '[Definition]\nactionban = true\nactionunban = true\n');
    copyFileSync(
      join(SHIPPED, 'filter.d/posternproxy.conf'),
      join(directory, 'etc/filter.d/posternproxy.conf'),
    );
    copyFileSync(
      join(SHIPPED, 'action.d/posternproxy-report.conf'),
      join(directory, 'etc/action.d/posternproxy-report.conf'),
    );
    const report = bans === null ? '' : `\n  posternproxy-report[name=posternproxy, bans="${bans}"]`;
    const files = [0, 1].map((n) => join(this.authDirectory, `fail2ban.${n}.log`));
    for (const file of files) writeFileSync(file, '{}\n');
    etc(
      'jail.conf',
      `[posternproxy]\nenabled = true\nfilter = posternproxy\nbackend = polling\nlogpath = ${files.join('\n  ')}\naction = nothing${report}\nbantime = 3600\nignoreip =\n`,
    );
    // As a service of the host, which goes by no TZ.
    const { TZ: _, ...env } = process.env;
    execFileSync(join(this.directory, 'bin/fail2ban-client'), ['start'], { env });
    for (let tries = 0; spawnSync(join(directory, 'bin/fail2ban-client'), ['ping']).status !== 0; tries++) {
      if (tries > 50) throw new Error('fail2ban does not start');
      spawnSync('sleep', ['0.1']);
    }
  }

  client(...args: string[]): string {
    return execFileSync(join(this.directory, 'bin/fail2ban-client'), args, { encoding: 'utf8' });
  }

  close(): void {
    spawnSync(join(this.directory, 'bin/fail2ban-client'), ['stop']);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
