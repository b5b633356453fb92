import type { Command } from 'commander';
import { toSafeJson } from '../audit/unsafe-characters.js';
import type { Finding } from '../sinks/sink.js';
import { createPaint, wantsColour } from './support/terminal.js';
import { timesFor, type UtcOption, utcTime, withUtc } from './support/times.js';

export function registerCheck(program: Command): void {
  withUtc(
    program
      .command('check')
      .description('Check everything: configuration, database, directories, sinks, fail2ban, the daemon'),
  )
    .option('--config <file>', 'configuration file (default: /etc/postern-auditd/config.yml)')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Changes nothing. Each finding is ok, a warning or an error, with the next step. Run it as root to check everything:
fail2ban answers only root, and the log files belong to the daemon.

Exit codes: 0 there are no errors (warnings are possible), 1 there are errors.

Examples:
  $ sudo postern-auditd check
  $ postern-auditd check --config ./config.yml
  $ postern-auditd check --json | jq '.sections[].findings[] | select(.level != "ok")'`,
    )
    .action(async (options: UtcOption & { config?: string; json?: boolean }) => {
      const [{ inspect }, { renderSection, renderSummary, summarise }] = await Promise.all([
        import('./check/inspect.js'),
        import('./check/report.js'),
      ]);
      const paint = createPaint(wantsColour(process.stdout, process.env));
      const times = options.json === true ? utcTime : timesFor(process.stdout, options);
      const sections: Array<{ readonly name: string; readonly findings: readonly Finding[] }> = [];
      for await (const section of inspect(options.config ?? null, process.env, times)) {
        sections.push(section);
        if (options.json !== true) process.stdout.write(renderSection(section, paint));
      }
      const summary = summarise(sections);
      if (options.json === true) process.stdout.write(`${toSafeJson({ ...summary, sections }, 2)}\n`);
      else process.stdout.write(renderSummary(summary, paint));
      if (!summary.ok) process.exitCode = 1;
    });
}
