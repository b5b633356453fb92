import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that run for a minute or more. As the last ones they would run alone. */
const LONG = [
  'test/daemon/kill.test.ts',
  'test/sinks/syslog/daemon-kills.test.ts',
  'test/source/harmless.test.ts',
  'test/fuzz/fuzz.test.ts',
  'test/daemon/archives-whole.test.ts',
  'test/commands/silence.test.ts',
];

/** Files of the project unit for each of the project host. So two host files run at once, seldom three; each boots separate hosts. */
const BETWEEN_HOSTS = 9;

/** Mixes the files that boot hosts with the others: host tests wait most of the time, and the others use the processor meanwhile. */
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
