import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fill } from './backlog.js';
import { bareNode, cpuOf, percentile, Rig, usage } from './bench-fixture.js';

const ROWS = 150_000;
const ROUNDS = 3;
/** CPU of a backlog, in turns with reference.ts: 3.2 to 4.9 measured. */
const MOST_CPU = 8;
/** The highest RSS of a backlog, of a process of Node.js with nothing but a timer: 2.8 measured. */
const MOST_RSS = 5;

/**
 * The small version for CI: CPU per row and memory of a backlog as ratios to references of the same run, the median of three rounds.
 * The bounds are wide: what exceeds them is no slow day but a change of the code. Sets the exit code.
 */
export async function regressions(): Promise<void> {
  const rig = new Rig();
  try {
    fill(rig, ROWS);
    const bare = await bareNode(1);
    const cpu: number[] = [];
    const rss: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const reference = cpuOf(process.execPath, [join(import.meta.dirname, 'reference.js'), rig.database]);
      const daemon = await backlogOnce(rig);
      cpu.push(daemon.cpu / reference);
      rss.push(daemon.peak / bare.rss);
    }
    const results: [string, number[], number][] = [
      ['CPU of a backlog, reference: rows written as JSON.stringify has them', cpu, MOST_CPU],
      ['highest RSS of a backlog, reference: Node.js with a timer', rss, MOST_RSS],
    ];
    for (const [what, ratios, most] of results) {
      const middle = percentile(
        ratios.toSorted((a, b) => a - b),
        0.5,
      );
      const all = ratios.map((ratio) => ratio.toFixed(2)).join(', ');
      console.log(
        `${middle > most ? 'REGRESSION: ' : ''}${what}: ratio ${middle.toFixed(2)} (of ${all}), at most ${most}`,
      );
      if (middle > most) process.exitCode = 1;
    }
  } finally {
    await rig.close();
  }
}

async function backlogOnce(rig: Rig): Promise<{ cpu: number; peak: number }> {
  const pid = await rig.start();
  while (((await rig.status())?.sinks.audit?.cursors.postern?.id ?? 0) < ROWS) await sleep(100);
  const used = usage(pid);
  await rig.forget();
  for (const directory of [rig.audit, rig.auth]) rmSync(directory, { recursive: true }); // else the next daemon finds its lines
  return used;
}
