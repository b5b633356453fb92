import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { countRows } from './count.js';
import { DAY, NOW, RetentionRig, sqlTime } from './retention-fixture.js';

/** Mounting requires root, and a kernel that permits it. */
function whyNoMount(): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'postern-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { stdio: 'pipe' });
    execFileSync('umount', [directory]);
    return null;
  } catch (error) {
    return String(error);
  } finally {
    rmdirSync(directory);
  }
}

const why = whyNoMount();
if (why !== null) {
  if (process.env.CI) throw new Error(`the test with a full archive disk can't run: ${why}`);
  console.warn(`SKIPPED: the test with a full archive disk needs a tmpfs of its own: ${why}`);
}

describe.skipIf(why !== null)('a full disk under the archives', () => {
  it('a full archive disk leaves each row in the table or in one archive, and the next run with space finishes', async () => {
    const rig = new RetentionRig();
    mkdirSync(rig.archive);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', rig.archive]);
    try {
      // Three months of 200 KB each, incompressible: the first fits, the others do not.
      const details = Array.from({ length: 900 }, () => randomBytes(600).toString('base64'));
      rig.insert(
        details.map((text, n) => ({
          created: sqlTime(NOW - (500 - 40 * Math.floor(n / 300)) * DAY),
          details: text,
        })),
      );
      rig.insert([{ created: sqlTime(NOW), details: 'fresh' }]);
      const written = new Map([...details, 'fresh'].map((text, at) => [at + 1, text]));
      await expect(rig.run('keep: { default: 1y }')).rejects.toThrow(/ENOSPC.*Make room/s);
      const first = countRows(rig.database, rig.archive, written);
      expect(first).toMatchObject({ both: 0, missing: [], twice: [], changed: [] });
      expect(first.archived).toBeGreaterThan(0);
      expect(first.inTable).toBeGreaterThan(300);
      expect(readdirSync(rig.archive).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      await expect(rig.run('keep: { default: 1y }')).rejects.toThrow('ENOSPC');
      expect(countRows(rig.database, rig.archive, written)).toEqual(first);

      execFileSync('mount', ['-o', 'remount,size=8m', rig.archive]);
      await rig.run('keep: { default: 1y }');
      expect(countRows(rig.database, rig.archive, written)).toEqual({
        inTable: 1,
        archived: 900,
        both: 0,
        missing: [],
        twice: [],
        changed: [],
      });
    } finally {
      execFileSync('umount', [rig.archive]);
      rig.close();
    }
  });
});
