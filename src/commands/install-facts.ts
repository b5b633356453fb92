import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { Config } from '../config/schema.js';
import { loadUnixDatagrams } from '../load-unix-datagrams.js';

export function registerFacts(program: Command): void {
  program
    .command('facts', { hidden: true })
    .description('Print what a setup needs from the configuration, as lines of "name value"')
    .option('--config <file>', 'configuration file')
    .option('--check-state', 'fail if a newer program has written state.db')
    .action(async (options: { config?: string; checkState?: boolean }) => {
      const { loadConfig } = await import('../config/load.js');
      const { config } = loadConfig(options.config ?? null, process.env);
      if (options.checkState === true) await checkState(config.state);
      const lines = [...installFacts(config), ['notify', hasDatagrams() ? 'yes' : 'no']];
      process.stdout.write(`${lines.map(([name, value]) => `${name} ${value}`).join('\n')}\n`);
    });
}

/** @throws AuditdError `STATE_NEWER` */
async function checkState(directory: string): Promise<void> {
  const [{ asOwner }, { STATE_VERSION }, { stateVersionIn }] = await Promise.all([
    import('../shipping/as-owner.js'),
    import('../shipping/state.js'),
    import('../shipping/state-version.js'),
  ]);
  if (existsSync(join(directory, 'state.db')))
    asOwner(directory, () => stateVersionIn(directory, STATE_VERSION));
}

/** Names and values; a name may occur more than once. */
function installFacts(config: Config): Array<readonly [string, string]> {
  const { source, state, control, log, sinks, fail2ban, retention } = config;
  const places = Object.values(sinks).flatMap((sink) =>
    'directory' in sink ? [[sink.type === 'fail2ban' ? 'auth' : 'logs', sink.directory] as const] : [],
  );
  return [
    ['database', source.database],
    ['state', state],
    ['control', control],
    ...places,
    ...pairOf(config),
    ...(log.file === null ? [] : [['logs', dirname(log.file)] as const]),
    ['fail2ban', fail2ban.enabled ? 'yes' : 'no'],
    ['jail', fail2ban.jail],
    ['banaction', fail2ban.banaction],
    ['bans', fail2ban.bans],
    ['archive', retention.archive.directory],
  ];
}

/** Mode and group of what fail2ban reads. */
function pairOf({ sinks }: Config): Array<readonly [string, string]> {
  return Object.values(sinks).flatMap((sink) =>
    sink.type === 'fail2ban'
      ? [['auth_mode', `0${sink.mode.toString(8)}`] as const, ['auth_group', sink.group ?? '-'] as const]
      : [],
  );
}

/** Whether the daemon can report to systemd that it is ready; otherwise the unit can't be Type=notify. */
function hasDatagrams(): boolean {
  try {
    loadUnixDatagrams();
    return true;
  } catch {
    return false;
  }
}
