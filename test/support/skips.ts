import { relative } from 'node:path';
import type { UserConsoleLog } from 'vitest';
import type { Reporter, TestModule, Vitest } from 'vitest/node';

/** Lists at the end the skipped tests and what they need, as nobody sees it among thousands of lines. In CI such tests fail instead. */
export class SkipsReporter implements Reporter {
  private root = process.cwd();
  private readonly reasons = new Set<string>();

  onInit(vitest: Vitest): void {
    this.root = vitest.config.root;
  }

  onUserConsoleLog({ content }: UserConsoleLog): void {
    for (const line of content.split('\n')) if (line.startsWith('SKIPPED')) this.reasons.add(line);
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules
      .map((module) => ({
        name: relative(this.root, module.moduleId),
        count: [...module.children.allTests('skipped')].length,
      }))
      .filter(({ count }) => count > 0);
    if (this.reasons.size === 0) return;
    const sum = skipped.reduce((before, { count }) => before + count, 0);
    process.stdout.write(
      `\nSKIPPED ${sum} tests that can not run here:\n${skipped
        .map(({ name, count }) => `  ${count} of ${name}\n`)
        .join(
          '',
        )}because of\n${[...this.reasons].map((reason) => `  ${reason.replace(/^SKIPPED:? ?/, '')}\n`).join('')}`,
    );
  }
}
