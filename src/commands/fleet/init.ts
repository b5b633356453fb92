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
    .description('make or check the stream')
    .option('--config <file>', 'configuration file (says how NATS is reached)')
    .option(
      '--replicas <number>',
      'copies of each message (default: 3 in a cluster of three and more, else 1)',
    )
    .option('--max-age <duration>', 'how long messages are kept (default: 30d)')
    .option('--max-messages <number>', 'how many the stream holds; then publishers wait (default: no limit)')
    .option('--duplicates <duration>', 'how long the stream knows a message again (default: 10m)')
    .option('--json', 'as JSON, for programs')
    .addHelpText(
      'after',
      `
Makes the stream and two key-value buckets where they are missing. What is there is compared and never changed: the
command that would change it is said. docs/guide/FLEET.md has the rights that this takes.

Exit codes: 0 all is as wished, 1 something differs.

Examples:
  $ postern-auditd fleet init
  $ postern-auditd fleet init --replicas 3 --max-age 90d --max-messages 100000000
  $ postern-auditd fleet init --json | jq '.[].differences'`,
    )
    .action(async (options: InitOptions) => {
      const [{ loadConfig }, { initFleet }, { connectionOf }, { wishesOf }] = await Promise.all([
        import('../../config/load.js'),
        import('../../fleet/init.js'),
        import('./config-option.js'),
        import('./stream-options.js'),
      ]);
      const wishes = wishesOf(options);
      const { config } = loadConfig(options.config ?? null, process.env);
      const results = await initFleet(connectionOf(config), wishes);
      process.stdout.write(
        options.json === true ? `${toSafeJson(results, 2)}\n` : results.map(render).join(''),
      );
      if (results.some(({ differences }) => differences.length > 0)) process.exitCode = 1;
    });
}

function render({ name, made, replicas, differences }: Initialised): string {
  const state = made ? 'made' : differences.length === 0 ? 'is there, as wished' : 'is there, and differs';
  const lines = differences.map(
    ({ setting, found, wished, grave, command }) =>
      `  ${setting}: ${found}, wished ${wished}${grave ? ' (events can be lost)' : ''}\n` +
      `    ${command === null ? 'can not be changed on a stream that is there' : `next: ${command}`}\n`,
  );
  return `${name}: ${state}, ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}\n${lines.join('')}`;
}
