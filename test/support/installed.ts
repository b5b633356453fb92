import { spawnSync } from 'node:child_process';

/**
 * True if the program runs here. Otherwise it prints a warning, and throws if `CI` is set: a test that needs it must
 * not be skipped there.
 */
export function installed(program: string, debianPackage: string): boolean {
  if (spawnSync(program, ['-v'], { stdio: 'ignore' }).error === undefined) return true;
  const missing = `${program} is not here. Next: apt-get install --no-install-recommends ${debianPackage}`;
  if (process.env.CI !== undefined) throw new Error(missing);
  console.warn(`SKIPPED: ${missing}`);
  return false;
}
