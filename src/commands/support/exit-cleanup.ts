import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const works = new Set<() => void>();
let listening = false;

/**
 * Removes a file or a directory when this command ends, also by a signal or a closed pipe (`| head`). For commands without signal
 * handlers of their own. After kill -9 the file stays.
 *
 * @returns a function that removes it now
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

/** Runs `work` when this command ends, as `removeAtEnd` does. @returns a function that cancels it */
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

/** A signal that arrived while this thread was busy is delivered within two turns of the event loop. */
export async function signalsHeard(): Promise<void> {
  await turn();
  await turn();
}

function forget(): void {
  listening = false;
  process.off('exit', doAll);
  for (const signal of SIGNALS) process.off(signal, endBy);
}

/** Ends by that signal, as the caller expects: only then does a shell stop its loop. */
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
    // Mostly it could not be created either, and that error has been reported.
  }
}
