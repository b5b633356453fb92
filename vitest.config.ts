import { defineConfig } from 'vitest/config';
import { MixedSequencer } from './test/support/order.js';
import { SkipsReporter } from './test/support/skips.js';

// More than the cores: most files wait for processes, disks and time-outs. Vitest's own choice on two cores is one.
const maxWorkers = 5;

export default defineConfig({
  test: {
    // What runs in the process of the tests; the daemon, its threads and its children run compiled, outside.
    coverage: { provider: 'v8', include: ['src/**'], reporter: ['text-summary', 'html'] },
    sequence: { sequencer: MixedSequencer },
    reporters: ['default', ...(process.env.GITHUB_ACTIONS ? ['github-actions'] : []), new SkipsReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/host/**'],
          // Against hangs; a busy machine takes ten times what an idle one does.
          testTimeout: 600_000,
          hookTimeout: 600_000,
          expect: { poll: { timeout: 60_000 } },
          maxWorkers,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Boots Debian hosts, each file some of names of its own.
        test: {
          name: 'host',
          include: ['test/host/**/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
          maxWorkers,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // What takes too long, or too much disk, for every change: by hand before a release (npm run test:release).
        test: {
          name: 'release',
          include: ['test/**/*.release.ts'],
          testTimeout: 7_200_000,
          hookTimeout: 900_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
