const NEVER_NOTIFIED = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread for `ms`. It is for commands and worker threads: the main thread of the daemon must not block. */
export function sleepSync(ms: number): void {
  if (ms > 0) Atomics.wait(NEVER_NOTIFIED, 0, 0, ms);
}
