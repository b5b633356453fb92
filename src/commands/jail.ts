import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import type { Config } from '../config/schema.js';
import { AuditdError } from '../errors.js';
import type { JailFile } from '../fail2ban/jail-files.js';
import { front } from '../front.js';

interface JailOptions {
  readonly config?: string;
  readonly chain?: string;
  readonly probe?: boolean;
  readonly all?: boolean;
  readonly tar?: boolean;
  readonly overrides?: string | true;
}

export function registerJail(program: Command): void {
  program
    .command('jail')
    .description(
      "Print fail2ban's jail for the configuration (postern-auditd setup writes it to /etc/fail2ban/jail.d)",
    )
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .option('--chain <names>', 'value of "chain: auto" on this host: INPUT, or INPUT,DOCKER-USER')
    .option('--all', 'print the filter and the actions too, each below its path')
    .option('--tar', "write all of these as a tar archive, to be unpacked in fail2ban's directory")
    .option('--probe', "print lines that fail2ban's filter must match, instead of the jail")
    .option(
      '--overrides [directory]',
      "list values of the jail that differ from [DEFAULT] of fail2ban's configuration (default: /etc/fail2ban)",
    )
    .addHelpText(
      'after',
      `
Examples:
  $ postern-auditd jail | diff /etc/fail2ban/jail.d/posternproxy.conf -
  $ docker compose run --rm -T postern-auditd jail --tar | sudo tar -xv -C /etc/fail2ban
  $ postern-auditd jail --probe >probe.log && fail2ban-regex -o ip probe.log posternproxy`,
    )
    .action(async (options: JailOptions) => {
      const [{ loadConfig }, { renderJail }, { probeLines }] = await Promise.all([
        import('../config/load.js'),
        import('../fail2ban/render-jail.js'),
        import('../fail2ban/filter-probe.js'),
      ]);
      if (options.probe === true) {
        process.stdout.write(`${probeLines(Date.now()).join('\n')}\n`);
        return;
      }
      const { config } = loadConfig(options.config ?? null, process.env);
      const authDirectory = authDirectoryOf(config);
      if (options.overrides !== undefined) {
        const directory = options.overrides === true ? '/etc/fail2ban' : options.overrides;
        const { administratorDefaults, overriddenDefaults, whereToSet } = await import(
          '../fail2ban/jail-defaults.js'
        );
        const { jail } = config.fail2ban;
        const text = renderJail(config.fail2ban, { authDirectory });
        const said = overriddenDefaults(jail, text, administratorDefaults(directory));
        if (said !== null) process.stdout.write(`${said}\n${whereToSet(jail)}\n`);
        return;
      }
      const chain = options.chain ?? usualChain();
      const place = chain === null ? { authDirectory } : { authDirectory, chain };
      if (options.all !== true && options.tar !== true) {
        process.stdout.write(renderJail(config.fail2ban, place));
        return;
      }
      const { jailFiles } = await import('../fail2ban/jail-files.js');
      const files = jailFiles(config, place);
      process.stdout.write(
        options.tar === true
          ? await archive(files)
          : files.map(({ path, text }) => `==> ${path} <==\n${text}`).join('\n'),
      );
    });
}

/** A host with Docker has the chain, and its container ports never pass INPUT. Null: what `auto` means without Docker. */
function usualChain(): string | null {
  return front() === 'container' && existsSync('/.dockerenv') ? 'INPUT,DOCKER-USER' : null;
}

/** @throws AuditdError `USAGE` on a terminal */
async function archive(files: readonly JailFile[]): Promise<Buffer> {
  if (process.stdout.isTTY)
    throw new AuditdError('USAGE', '--tar: an archive is not for a terminal', {
      next: 'Pipe it: postern-auditd jail --tar | sudo tar -xv -C /etc/fail2ban',
    });
  const { tarOf } = await import('./support/tar-archive.js');
  return tarOf(files, Math.floor(Date.now() / 1_000));
}

/** Where the pair of files is that the jail reads. @throws AuditdError `NOT_FOUND` if no sink writes it */
function authDirectoryOf(config: Config): string {
  const sink = Object.values(config.sinks).find(({ type }) => type === 'fail2ban');
  if (sink !== undefined && 'directory' in sink) return sink.directory;
  throw new AuditdError('NOT_FOUND', 'There is no sink of type fail2ban, so the jail has no file to read', {
    next: 'Add one under sinks, such as "auth: { type: fail2ban }"',
  });
}
