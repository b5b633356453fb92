import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** They run for a minute or more: as the last ones they would run alone. */
const LONG = [
  'test/daemon/kill.test.ts',
  'test/sinks/syslog/daemon-kills.test.ts',
  'test/source/harmless.test.ts',
  'test/fuzz/fuzz.test.ts',
  'test/daemon/archives-whole.test.ts',
  'test/commands/silence.test.ts',
];

/** Files of the project unit for each of the project host, so that two of these run at once, seldom three: each boots hosts of its own. */
const BETWEEN_HOSTS = 9;

/** Files of tests that boot hosts among the others: those wait most of the time, and the others use the processor meanwhile. */
export class MixedSequencer extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const nameOf = (file: TestSpecification) => relative(file.project.config.root, file.moduleId);
    const hosts = sorted.filter(({ project }) => project.name === 'host');
    const others = sorted.filter(({ project }) => project.name !== 'host');
    const long = (file: TestSpecification) => (LONG.includes(nameOf(file)) ? 0 : 1);
    others.sort((a, b) => long(a) - long(b));
    const mixed = others.flatMap((file, at) =>
      at % BETWEEN_HOSTS === 0 ? [...hosts.splice(0, 1), file] : [file],
    );
    return [...mixed, ...hosts];
  }
}
