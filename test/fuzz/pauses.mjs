// Loaded into the daemon by --import: the most processor time that its main thread took from one turn of its loop to the next,
// in hundredths of a second. Time that the machine gave to others does not count, so that a slow one can't fail a test.
import { readFileSync, writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const file = process.env.FUZZ_PAUSES;

function used() {
  const stat = readFileSync(`/proc/self/task/${process.pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

if (isMainThread && file !== undefined) {
  let before = used();
  let most = 0;
  setInterval(() => {
    const now = used();
    if (now - before > most) {
      most = now - before;
      writeFileSync(file, String(most));
    }
    before = now;
  }, 20).unref();
}
