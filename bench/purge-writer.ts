import { setTimeout as sleep } from 'node:timers/promises';
import { createRecorder } from 'postern-auditd/recorder';
import Database from '#sqlite';

// Stands for Postern in a separate process: a commit of one row every 5 ms, with a busy timeout of 100 ms. Each message to it
// requests the figures since the last one.

const EVERY_MS = 5;
const [path = '', synchronous = 'FULL'] = process.argv.slice(2);

const db = new Database(path, { timeout: 100 });
db.pragma(`synchronous = ${synchronous}`);
const recorder = createRecorder(db);
let took: number[] = [];
let busy = 0;

process.on('message', () => {
  process.send?.({ took, busy });
  took = [];
  busy = 0;
});
process.on('disconnect', () => process.exit());

for (let next = performance.now(); ; next += EVERY_MS) {
  const pause = next - performance.now();
  if (pause > 0) await sleep(pause);
  else if (pause < -1_000) next = performance.now(); // it could not keep up
  const begin = performance.now();
  try {
    recorder.record({ action: 'proxy_host.update', resourceId: 7, details: { enabled: true } });
  } catch {
    busy++;
  }
  took.push(performance.now() - begin);
}
