import { spawnSync } from 'node:child_process';

/**
 * True where a program is missing that a test works with; says so, and lets the tests fail where they must run.
 *
 * @param from the Debian package that has it
 */
export function without(program: string, from = program): boolean {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status === 0) return false;
  const what = `${program} is missing (apt-get install ${from})`;
  if (process.env.CI !== undefined) throw new Error(what);
  console.warn(`SKIPPED: ${what}`);
  return true;
}
