import { Argument, type Command } from 'commander';

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('Print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
Examples:
  $ postern-auditd completion bash | sudo tee /etc/bash_completion.d/postern-auditd
  $ postern-auditd completion zsh >"\${fpath[1]}/_postern-auditd"
  $ postern-auditd completion fish >~/.config/fish/completions/postern-auditd.fish`,
    )
    .action(async (shell: string) => {
      const { completionFor } = await import('./completion/scripts.js');
      process.stdout.write(completionFor(shell, program));
    });
}
