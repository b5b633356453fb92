import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import { AuditdError } from '../../errors.js';
import { front } from '../../front.js';
import { ROOT } from '../../installation.js';
import { instance } from '../../instance.js';
import { readReport } from './report.js';

export interface SetupOptions {
  readonly database?: string;
  readonly trustOwner?: string;
  readonly adminNet?: readonly string[];
  readonly banaction?: string;
  readonly fail2ban?: boolean;
  readonly removeJail?: boolean;
  readonly prepare?: boolean;
  readonly remove?: boolean;
  readonly purge?: boolean;
  readonly dryRun?: boolean;
}

/**
 * Runs install/setup.sh, which shares its parts with install.sh.
 *
 * @returns its exit code
 * @throws AuditdError `USAGE`; `NOT_INSTALLED` if there is nothing here to set up
 */
export async function runSetup(options: SetupOptions, json: boolean): Promise<number> {
  const how = front();
  if (how === 'source')
    throw new AuditdError('NOT_INSTALLED', `The program in ${ROOT} is not installed`, {
      next: 'Install it with: sudo ./install.sh',
    });
  if (how === 'container')
    throw new AuditdError('NOT_INSTALLED', 'A container has nothing to set up', {
      next: 'Mount the configuration, the directory of the database and the log directory; docs/guide/INSTALL.md shows how',
    });
  if (options.purge === true && options.remove !== true)
    throw new AuditdError('USAGE', '--purge needs --remove', { next: 'See postern-auditd setup --help' });

  const child = spawn('/bin/bash', [join(ROOT, 'install/setup.sh'), ...argumentsOf(options)], {
    env: { ...process.env, POSTERN_AUDITD_FRONT: how },
    stdio: json ? ['inherit', 'pipe', 'pipe'] : 'inherit',
  });
  // The script restores what is half done; it has to be waited for. A terminal sends SIGINT to both.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => (signal === 'SIGINT' ? undefined : child.kill(signal)));
  const said = { out: '', err: '' };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (said.out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said.err += text));
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve(status ?? 1));
  });
  if (json) process.stdout.write(`${toSafeJson(readReport(said.out, said.err, code), 2)}\n`);
  return code;
}

function argumentsOf(options: SetupOptions): string[] {
  const { database, trustOwner, banaction, adminNet = [] } = options;
  const flags = [
    [options.fail2ban === true, '--fail2ban'],
    [options.fail2ban === false, '--no-fail2ban'],
    [options.removeJail, '--remove-jail'],
    [options.prepare, '--prepare'],
    [options.remove, '--remove'],
    [options.purge, '--purge'],
    [options.dryRun, '--dry-run'],
  ] as const;
  const name = instance();
  return [
    ...(name === null ? [] : ['--instance', name]),
    ...(database === undefined ? [] : ['--database', database]),
    ...(trustOwner === undefined ? [] : ['--trust-owner', trustOwner]),
    ...(banaction === undefined ? [] : ['--banaction', banaction]),
    ...adminNet.flatMap((network) => ['--admin-net', network]),
    ...flags.flatMap(([given, flag]) => (given === true ? [flag] : [])),
  ];
}
