import { readFileSync } from 'node:fs';

/** How long an answer is cached, ms: mounts under a running process are rare, and there are up to a thousand reads a second. */
const HOLDS_MS = 5_000;

const known = new Map<string, { readonly at: number; readonly isMounted: boolean }>();

/**
 * Whether something is mounted on this very path, and not on a directory above it. The path has to be the real one, without links.
 * If the kernel does not show mounts, the answer is no.
 */
export function isMountPoint(path: string): boolean {
  const before = known.get(path);
  const now = performance.now();
  if (before !== undefined && now - before.at < HOLDS_MS) return before.isMounted;
  const isMounted = mountPoints().has(path);
  known.set(path, { at: now, isMounted });
  return isMounted;
}

function mountPoints(): Set<string> {
  try {
    return mountPointsIn(readFileSync('/proc/self/mountinfo', 'utf8'));
  } catch {
    return new Set();
  }
}

/** The fifth field of each line (proc(5)), in which blanks, tabs, line ends and backslashes are written as octal numbers. */
export function mountPointsIn(text: string): Set<string> {
  const paths = text.split('\n').flatMap((line) => line.split(' ')[4] ?? []);
  return new Set(
    paths.map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
    ),
  );
}
