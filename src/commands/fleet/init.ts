import type { Command } from 'commander';
import { toSafeJson } from '../../audit/unsafe-characters.js';
import type { Initialised } from '../../fleet/init.js';

interface InitOptions {
  readonly config?: string;
  readonly replicas?: string;
  readonly maxAge?: string;
  readonly maxMessages?: string;
  readonly duplicates?: string;
  readonly json?: boolean;
}

export function registerFleetInit(fleet: Command): void {
  fleet
    .command('init')
    .description('Create or check the stream')
    .option('--config <file>', 'configuration file (names the NATS servers)')
    .option(
      '--replicas <number>',
      'copies of each message (default: 3 in a cluster of three and more, else 1)',
    )
    .option('--max-age <duration>', 'age at which messages are removed (default: 30d)')
    .option(
      '--max-messages <number>',
      'limit of messages in the stream; publishers wait at the limit (default: no limit)',
    )
    .option('--duplicates <duration>', 'time in which the stream recognises a duplicate (default: 10m)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Creates the stream and two key-value buckets when they are missing. Existing ones are compared and never changed; the
output has the command that would change them. docs/guide/FLEET.md lists the required NATS permissions.

Exit codes: 0 everything matches, 1 something differs.

Examples:
  $ postern-auditd fleet init
  $ postern-auditd fleet init --replicas 3 --max-age 90d --max-messages 100000000
  $ postern-auditd fleet init --json | jq '.[].differences'`,
    )
    .action(async (options: InitOptions) => {
      const [{ loadConfig }, { initFleet }, { connectionOf }, { streamOptionsOf }] = await Promise.all([
        import('../../config/load.js'),
        import('../../fleet/init.js'),
        import('./config-option.js'),
        import('./stream-options.js'),
      ]);
      const wishes = streamOptionsOf(options);
      const { config } = loadConfig(options.config ?? null, process.env);
      const results = await initFleet(connectionOf(config), wishes);
      process.stdout.write(
        options.json === true ? `${toSafeJson(results, 2)}\n` : results.map(render).join(''),
      );
      if (results.some(({ differences }) => differences.length > 0)) process.exitCode = 1;
    });
}

function render({ name, made, replicas, differences }: Initialised): string {
  const state = made ? 'created' : differences.length === 0 ? 'exists and matches' : 'exists, but differs';
  const lines = differences.map(
    ({ setting, found, wished, grave, command }) =>
      `  ${setting}: found ${found}, wanted ${wished}${grave ? ' (events can be lost)' : ''}\n` +
      `    ${command === null ? "can't be changed on an existing stream" : `next: ${command}`}\n`,
  );
  return `${name}: ${state}, ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}\n${lines.join('')}`;
}
