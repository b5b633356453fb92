import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const works = new Set<() => void>();
let listening = false;

/**
 * Has a file or a directory removed when this command ends, be it by a signal or because nobody reads it any more (`| head`). For
 * commands that have no handler of their own for signals. After kill -9 it stays.
 *
 * @returns removes it now
 */
export function removeAtEnd(path: string): () => void {
  const forgetIt = doAtEnd(() => remove(path));
  return () => {
    remove(path);
    forgetIt();
  };
}

/** A directory of this command's own (mode 0700), removed as `removeAtEnd` does. */
export function temporaryDirectory(purpose: string): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), `postern-auditd-${purpose}-`));
  return { path, remove: removeAtEnd(path) };
}

/** Has something done when this command ends, as `removeAtEnd` does. @returns leaves it undone from now on */
export function doAtEnd(work: () => void): () => void {
  if (!listening) {
    listening = true;
    process.once('exit', doAll);
    for (const signal of SIGNALS) process.on(signal, endBy);
  }
  works.add(work);
  return () => {
    works.delete(work);
    void signalsHeard().then(() => {
      if (works.size === 0) forget();
    });
  };
}

/** A signal that came while this thread was busy is heard at a turn of the event loop, and at the one after that at the latest. */
export async function signalsHeard(): Promise<void> {
  await turn();
  await turn();
}

function forget(): void {
  listening = false;
  process.off('exit', doAll);
  for (const signal of SIGNALS) process.off(signal, endBy);
}

/** Ends by that signal, as who started the command expects: a shell stops its loop only then. */
function endBy(signal: NodeJS.Signals): void {
  doAll();
  forget();
  process.kill(process.pid, signal);
}

function doAll(): void {
  for (const work of works) work();
}

function remove(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // Where it can't be removed it mostly could not be made either, and why has been said.
  }
}
