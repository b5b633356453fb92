import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
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
          // More than the cores: most files wait for processes, disks and time-outs. Vitest's own choice on two cores is one.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Boots Debian hosts: one at a time, and only after the build.
        test: {
          name: 'host',
          include: ['test/host/**/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 900_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
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
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
